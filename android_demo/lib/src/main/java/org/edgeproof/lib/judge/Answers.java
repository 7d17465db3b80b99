package org.edgeproof.lib.judge;

import java.util.Arrays;
import java.util.List;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.json.Integers;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;

/** The answers so far, as far as the rules need them: sums, flags and texts. Each is checked as it comes. */
public final class Answers {
    /** How far above 0 float32 arithmetic may push a log-probability; it then counts as 0. */
    private static final double ROUNDING = 1e-3;

    /** What a float32 probability cannot tell from 0: some engines say log(0) as an enormous number. */
    private static final double LEAST = Math.log(Math.pow(2, -149));

    private static final double TOO_LITTLE = -1e30;
    private static final List<String> FINISHES = Arrays.asList("eos", "stop", "length");

    /** Whether the engine gives log-probabilities. */
    final boolean scores;

    private final Job job;
    private final double[] sums;
    private final boolean[] answered;
    private final boolean[] allGreedy;
    private final String[] texts;

    public Answers(Job job, boolean scores) {
        this.job = job;
        this.scores = scores;
        int count = job.requests.size();
        sums = new double[count];
        answered = new boolean[count];
        allGreedy = new boolean[count];
        texts = new String[count];
    }

    /** Takes a score's line. */
    public void score(Request request, String line) throws RunException {
        double[] logprobs;
        boolean[] greedy;
        try {
            JsonObject found = identified(request, line);
            logprobs = found.numbers("logprobs");
            greedy = found.flags("greedy");
        } catch (JsonException wrong) {
            throw nonsense(request, wrong);
        }
        int count = request.continuation.length;
        if (logprobs.length != count || greedy.length != count) {
            throw nonsense(request, "has not " + count + " tokens");
        }
        double sum = 0;
        boolean all = true;
        for (int index = 0; index < count; index++) {
            double one = logprobs[index];
            if (!(one <= ROUNDING)) {
                throw nonsense(request, "holds a log-probability above 0");
            }
            sum += one < TOO_LITTLE ? LEAST : Math.min(0, one);
            all &= greedy[index];
        }
        sums[request.id] = sum;
        allGreedy[request.id] = all;
        answered[request.id] = true;
    }

    /** Takes a generation's line, and returns its tokens. */
    public int[] tokens(Request request, String line) throws RunException {
        try {
            JsonObject found = identified(request, line);
            List<?> tokens = found.list("tokens");
            if (!(tokens instanceof Integers) || tokens.size() > request.maxTokens) {
                throw nonsense(request, "has not up to " + request.maxTokens + " tokens");
            }
            if (!FINISHES.contains(found.text("finish"))) {
                throw nonsense(request, "does not say why it ends");
            }
            return ((Integers) tokens).toArray32();
        } catch (JsonException wrong) {
            throw nonsense(request, wrong);
        }
    }

    /** Takes a generation's text. */
    public void text(Request request, String text) {
        texts[request.id] = text;
        answered[request.id] = true;
    }

    public boolean has(int id) {
        return id != Request.NONE && answered[id];
    }

    /** Natural log of the probability of a whole continuation; −∞ where nothing is known. */
    public double sum(int id) {
        return has(id) ? sums[id] : Double.NEGATIVE_INFINITY;
    }

    public boolean allGreedy(int id) {
        return has(id) && allGreedy[id];
    }

    /** A generation's text, or null. */
    public String textOf(int id) {
        return has(id) ? texts[id] : null;
    }

    /** Tokens that a score's continuation has. */
    int length(int id) {
        return job.requests.get(id).continuation.length;
    }

    private static JsonObject identified(Request request, String line) throws JsonException, RunException {
        JsonObject found = JsonObject.read(line, "answer " + request.id);
        if (found.whole("id", 0) != request.id) {
            throw nonsense(request, "belongs to another request");
        }
        return found;
    }

    private static RunException nonsense(Request request, JsonException wrong) {
        return new RunException(
                Reason.ENGINE, "the engine's answer makes no sense: " + wrong.getMessage(), wrong);
    }

    private static RunException nonsense(Request request, String what) {
        return new RunException(
                Reason.ENGINE, "the engine's answer makes no sense: answer " + request.id + " " + what);
    }
}
