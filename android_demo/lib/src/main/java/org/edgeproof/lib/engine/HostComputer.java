package org.edgeproof.lib.engine;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.json.JsonReader;
import org.edgeproof.lib.json.JsonWriter;

/** A host app's engine, whose answers are written as the probe writes its own; the probe program spells the tokens. */
public final class HostComputer implements Computer {
    private static final List<String> COMPUTED = Arrays.asList("cpu", "gpu", "npu", "unknown");
    private static final List<String> FINISHES = Arrays.asList("eos", "stop", "length");

    private final Engine engine;
    private final Computer vocabulary;
    private final Report report;
    private long tokens;
    private long nanos;

    /** Hashes the model, and lets {@code engine} load it; {@code vocabulary} has it too. */
    public HostComputer(Engine engine, Computer vocabulary, File model, int context, Beat beat) throws RunException {
        this.engine = engine;
        this.vocabulary = vocabulary;
        String digest;
        try {
            digest = Digest.of(model, beat);
        } catch (IOException wrong) {
            throw new RunException(Reason.MODEL, "cannot read the model", wrong);
        }
        EngineInfo info;
        try {
            info = engine.open(model, context);
        } catch (RuntimeException wrong) {
            throw failed("cannot load the model", wrong);
        }
        if (info == null || !COMPUTED.contains(info.computed)) {
            throw new RunException(Reason.ENGINE, "the app's engine does not say what computes: one of " + COMPUTED);
        }
        report = new Report(info, digest, "", "", "", 0, 0);
    }

    @Override
    public Report report() {
        return report;
    }

    @Override
    public String score(Request request, int[] context) throws RunException {
        long start = System.nanoTime();
        Score score;
        try {
            score = engine.score(context, request.continuation);
        } catch (RuntimeException wrong) {
            throw failed("failed to score", wrong);
        }
        counted(start, context.length + request.continuation.length);
        int count = request.continuation.length;
        if (score == null
                || score.logprobs.length != count
                || score.greedy.length != count
                || score.ranks != null && score.ranks.length != count) {
            throw new RunException(Reason.ENGINE, "the app's engine did not score " + count + " tokens");
        }
        for (double one : score.logprobs) {
            if (Double.isNaN(one) || Double.isInfinite(one)) {
                throw new RunException(Reason.ENGINE, "the app's engine gave a log-probability that is no number");
            }
        }
        int[] ranks = score.ranks;
        if (ranks == null) {
            ranks = new int[count];
            Arrays.fill(ranks, -1);
        }
        List<Object> greedy = new ArrayList<>();
        List<Object> nothing = new ArrayList<>();
        for (boolean one : score.greedy) {
            greedy.add(one);
            nothing.add(JsonReader.NULL);
        }
        Map<String, Object> line = line(request);
        line.put("logprobs", score.logprobs);
        line.put("greedy", greedy);
        line.put("ranks", ranks);
        line.put("mean", nothing);
        line.put("std", nothing);
        return JsonWriter.write(line);
    }

    @Override
    public List<String> generate(List<Request> requests, List<int[]> contexts) throws RunException {
        List<String> found = new ArrayList<>();
        for (int index = 0; index < requests.size(); index++) {
            Request one = requests.get(index);
            long start = System.nanoTime();
            Generation said = generated(one, contexts.get(index));
            if (said == null || said.tokens.length > one.maxTokens || !FINISHES.contains(said.finish)) {
                throw new RunException(
                        Reason.ENGINE,
                        "the app's engine gave no generation of at most " + one.maxTokens + " tokens that ends by one"
                                + " of " + FINISHES);
            }
            counted(start, contexts.get(index).length + said.tokens.length);
            Map<String, Object> line = line(one);
            line.put("tokens", said.tokens);
            line.put("finish", said.finish);
            found.add(JsonWriter.write(line));
        }
        return found;
    }

    private Generation generated(Request one, int[] context) throws RunException {
        try {
            return engine.generate(context, one.maxTokens, one.stop, one.temperature, one.uniforms, one.special);
        } catch (RuntimeException wrong) {
            throw failed("failed to generate", wrong);
        }
    }

    /** Names the kind of exception alone: its message may hold what was said. */
    private static RunException failed(String what, RuntimeException wrong) {
        return new RunException(
                Reason.ENGINE, "the app's engine " + what + ": " + wrong.getClass().getName(), wrong);
    }

    @Override
    public int[] tokenize(String text) throws RunException {
        return vocabulary.tokenize(text);
    }

    @Override
    public byte[] spell(int[] some, boolean special) throws RunException {
        return vocabulary.spell(some, special);
    }

    @Override
    public Usage usage() {
        return new Usage(nanos > 0 ? tokens * 1e9 / nanos : 0, 0);
    }

    @Override
    public void finish() {
        // An engine of its own keeps no journal.
    }

    @Override
    public void close() {
        engine.close();
        vocabulary.close();
    }

    private void counted(long start, int count) {
        nanos += System.nanoTime() - start;
        tokens += count;
    }

    private static Map<String, Object> line(Request request) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", request.id);
        return line;
    }
}
