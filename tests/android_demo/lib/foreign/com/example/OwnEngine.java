package com.example;

import java.io.File;
import java.util.List;
import org.edgeproof.lib.engine.Engine;
import org.edgeproof.lib.engine.EngineInfo;
import org.edgeproof.lib.engine.Generation;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.Score;

/** An engine of another app, which says the same of everything. */
public final class OwnEngine implements Engine {
    @Override
    public EngineInfo open(File model, int context) throws RunException {
        if (!model.isFile()) {
            throw new RunException(RunException.Reason.MODEL, "no model");
        }
        return new EngineInfo("example", "1.0", "npu", "all of 12 layers on the NPU", true);
    }

    @Override
    public Score score(int[] context, int[] continuation) {
        return new Score(new double[continuation.length], new boolean[continuation.length], null);
    }

    @Override
    public Generation generate(
            int[] context, int maxTokens, List<String> stop, double temperature, double[] uniforms, boolean special) {
        return new Generation(new int[] {context[0]}, "length");
    }

    @Override
    public void close() {}
}
