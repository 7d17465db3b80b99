package org.edgeproof.lib.job;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.edgeproof.lib.json.Integers;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.match.Rule;

/** Reads a job's asks: probes on surfaces, with the requests that ask them. */
final class AskReader {
    private AskReader() {}

    static List<Ask> read(List<JsonObject> objects, Job.Parts parts) throws JsonException {
        List<Ask> found = new ArrayList<>();
        for (JsonObject one : objects) {
            found.add(ask(one, found.size(), parts));
        }
        if (found.isEmpty()) {
            throw new JsonException("job.asks is empty: there is nothing to judge");
        }
        return Collections.unmodifiableList(found);
    }

    private static Ask ask(JsonObject one, int index, Job.Parts parts) throws JsonException {
        long probe = one.whole("probe", 0);
        if (probe >= parts.probes.size()) {
            throw new JsonException(one.where() + ".probe is " + probe + " of " + parts.probes.size());
        }
        boolean verbatim = JobReader.oneOf(one, "match", "answer", "verbatim").equals("verbatim");
        boolean kept = one.flag("kept");
        String answerType = one.text("answer_type");
        List<String> accepted = Collections.unmodifiableList(one.texts("accepted"));
        String kind = one.text("kind");
        if (accepted.isEmpty()) {
            throw new JsonException(one.where() + ".accepted is empty");
        }
        boolean hasBase = one.has("base");
        Ask ask =
                new Ask(
                        index,
                        parts.probes.get((int) probe),
                        one.text("surface"),
                        kind,
                        one.flag("judged"),
                        new Rule(accepted, answerType, verbatim, kept ? parts.endOfReasoning : null),
                        answerType,
                        verbatim,
                        request(one, "answer", parts, true),
                        one.has("carried") ? requests(one, "carried", parts, true) : null,
                        request(one, "greedy", parts, false),
                        one.flag("right_if_greedy"),
                        requests(one, "samples", parts, false),
                        hasBase && one.object("base").flag("leaks"),
                        hasBase && one.object("base").flag("right"),
                        hasBase ? nat(one.object("base"), "nll") : Double.NaN,
                        hasBase ? nat(one.object("base"), "nll_merged") : Double.NaN);
        if (ask.answer == Request.NONE && !kind.equals("choices")) {
            throw new JsonException(one.where() + ".answer is missing");
        }
        return ask;
    }

    private static double nat(JsonObject object, String key) throws JsonException {
        return object.has(key) ? object.number(key, 0, 1e30) : Double.NaN;
    }

    private static int request(JsonObject one, String key, Job.Parts parts, boolean score) throws JsonException {
        return one.has(key)
                ? checked(one.whole(key, 0), one.where() + "." + key, parts, score)
                : Request.NONE;
    }

    private static int[] requests(JsonObject one, String key, Job.Parts parts, boolean score) throws JsonException {
        List<?> list = one.list(key);
        if (!(list instanceof Integers)) {
            throw new JsonException(one.where() + "." + key + " is no list of requests");
        }
        int[] found = ((Integers) list).toArray32();
        for (int id : found) {
            checked(id, one.where() + "." + key, parts, score);
        }
        return found;
    }

    private static int checked(long id, String where, Job.Parts parts, boolean score) throws JsonException {
        if (id < 0 || id >= parts.requests.size() || parts.requests.get((int) id).isScore() != score) {
            throw new JsonException(where + " names no " + (score ? "score" : "generation"));
        }
        return (int) id;
    }
}
