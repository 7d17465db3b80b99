package org.edgeproof.lib;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.engine.Engine;
import org.edgeproof.lib.engine.EngineInfo;
import org.edgeproof.lib.engine.Generation;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.Score;
import org.edgeproof.lib.job.Job;

/**
 * An app's own engine, as an app would write it: here it asks the probe program, through the public interface alone.
 *
 * <p>It says that {@code computed} computes; with "silent" it gives no log-probabilities, with "broken" it
 * fails with what it was asked in its message.
 */
final class HostEngine implements Engine {
    private final List<String> command;
    private final String computed;
    private final boolean scores;
    private final boolean broken;
    private RawProbe probe;

    HostEngine(List<String> command, Job job, String computed) {
        this.command = command;
        this.scores = !computed.equals("silent");
        this.broken = computed.equals("broken");
        this.computed = scores && !broken ? computed : job.compute;
    }

    @Override
    public EngineInfo open(File model, int context) throws RunException {
        probe = new RawProbe(command, model);
        return new EngineInfo("host engine", "1", computed, "the probe in disguise", scores);
    }

    @Override
    public Score score(int[] context, int[] continuation) throws RunException {
        if (broken) {
            throw new IllegalStateException("cannot score " + Arrays.toString(context));
        }
        return probe.score(context, continuation);
    }

    @Override
    public Generation generate(
            int[] context, int maxTokens, List<String> stop, double temperature, double[] uniforms, boolean special)
            throws RunException {
        Map<String, Object> asked = new LinkedHashMap<>();
        asked.put("context", context);
        asked.put("max_tokens", maxTokens);
        asked.put("stop", new ArrayList<>(stop));
        asked.put("temperature", temperature);
        asked.put("uniforms", uniforms);
        asked.put("special", special);
        return probe.generate(asked);
    }

    @Override
    public void close() {
        if (probe != null) {
            probe.close();
        }
    }
}
