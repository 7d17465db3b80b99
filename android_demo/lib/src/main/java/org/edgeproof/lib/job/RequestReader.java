package org.edgeproof.lib.job;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;

/** Reads a job's requests and splices: each refers to what comes before it. */
final class RequestReader {
    private static final int MOST_TOKENS = 1 << 20;

    private final List<int[]> contexts;
    private final List<Splice> splices = new ArrayList<>();
    private final List<Request> requests = new ArrayList<>();

    RequestReader(List<int[]> contexts, List<JsonObject> splices, List<JsonObject> requests) throws JsonException {
        this.contexts = contexts;
        if (requests.isEmpty()) {
            throw new JsonException("job.requests is empty: there is nothing to ask");
        }
        for (JsonObject one : splices) {
            Splice splice = new Splice((int) one.whole("reply", 0), one.texts("parts"), one.text("empty"));
            if (splice.parts.size() < 2 || splice.reply >= requests.size()) {
                throw new JsonException(one.where() + " has less than two parts, or the reply to no request");
            }
            this.splices.add(splice);
        }
        for (JsonObject one : requests) {
            this.requests.add(request(one));
        }
    }

    List<Splice> splices() {
        return Collections.unmodifiableList(splices);
    }

    List<Request> requests() {
        return Collections.unmodifiableList(requests);
    }

    private Request request(JsonObject one) throws JsonException {
        int id = requests.size();
        if (one.whole("id", 0) != id) {
            throw new JsonException(one.where() + ".id is not its place in the list");
        }
        boolean scored = one.has("score");
        if (scored == one.has("generate")) {
            throw new JsonException(one.where() + " is neither a score nor a generation");
        }
        JsonObject asked = one.object(scored ? "score" : "generate");
        int context = place(asked, "context", contexts.size());
        int splice = place(asked, "splice", splices.size());
        if ((context == Request.NONE) == (splice == Request.NONE)) {
            throw new JsonException(asked.where() + " has not one context");
        }
        if (splice != Request.NONE) {
            Request reply = earlier(splices.get(splice).reply, asked.where());
            if (reply.isScore()) {
                throw new JsonException(asked.where() + ".splice holds the reply of a score");
            }
        }
        int unless = place(one, "unless", id);
        if (unless != Request.NONE && !requests.get(unless).isScore()) {
            throw new JsonException(one.where() + ".unless names no score");
        }
        return scored ? score(asked, id, context, splice, unless) : generation(asked, id, context, splice, unless);
    }

    private static Request score(JsonObject asked, int id, int context, int splice, int unless) throws JsonException {
        int[] tokens = JobReader.tokens(asked.integers("continuation"), asked.where() + ".continuation");
        if (tokens.length == 0) {
            throw new JsonException(asked.where() + ".continuation is empty");
        }
        return new Request(id, context, splice, tokens, 0, null, 0, null, false, unless);
    }

    private static Request generation(JsonObject asked, int id, int context, int splice, int unless)
            throws JsonException {
        int most = (int) JobReader.within(asked.whole("max_tokens", 1), MOST_TOKENS, asked.where() + ".max_tokens");
        double temperature = asked.number("temperature", 0, 100);
        double[] uniforms = asked.numbers("uniforms");
        if (uniforms.length != (temperature > 0 ? most : 0)) {
            throw new JsonException(asked.where() + ".uniforms has not a number for each token");
        }
        for (double one : uniforms) {
            if (!(one >= 0 && one < 1)) {
                throw new JsonException(asked.where() + ".uniforms holds a number that is not in 0 … 1");
            }
        }
        List<String> stop = Collections.unmodifiableList(asked.texts("stop"));
        boolean special = asked.flag("special");
        return new Request(id, context, splice, null, most, stop, temperature, uniforms, special, unless);
    }

    private Request earlier(int id, String where) throws JsonException {
        if (id >= requests.size()) {
            throw new JsonException(where + " depends on a request that comes later");
        }
        return requests.get(id);
    }

    private static int place(JsonObject object, String key, int count) throws JsonException {
        if (!object.has(key)) {
            return Request.NONE;
        }
        long place = object.whole(key, 0);
        if (place >= count) {
            throw new JsonException(object.where() + "." + key + " is " + place + " of " + count);
        }
        return (int) place;
    }
}
