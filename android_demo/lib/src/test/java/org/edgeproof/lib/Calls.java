package org.edgeproof.lib;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;
import org.edgeproof.lib.judge.Binomial;
import org.edgeproof.lib.judge.Leak;
import org.edgeproof.lib.match.Matching;
import org.edgeproof.lib.match.Rule;
import org.edgeproof.lib.match.Thinking;

/** Calls single rules, so that a test can compare them with Python's: a JSON object a line in, a value a line out. */
public final class Calls {
    private static Pattern reasoning = Pattern.compile("");

    private Calls() {}

    public static void main(String[] none) throws IOException, JsonException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(JsonWriter.write(answer(JsonObject.read(line, "call"))));
        }
    }

    private static Object answer(JsonObject call) throws JsonException {
        switch (call.text("call")) {
            case "upper":
                return Binomial.upper(whole(call, "hits"), whole(call, "trials"), call.number("alpha", 0, 1));
            case "lower":
                return Binomial.lower(whole(call, "hits"), whole(call, "trials"), call.number("alpha", 0, 1));
            case "above":
                return Binomial.above(whole(call, "hits"), whole(call, "trials"), call.number("limit", 0, 1));
            case "extraction":
                return Binomial.extraction(call.number("logprob", -1e300, 0), call.whole("queries", 1));
            case "total":
                return Leak.total(call.numbers("logprobs"));
            case "end_of_reasoning":
                reasoning = Thinking.endOfReasoning(call.text("expression"));
                return true;
            case "cut":
                return Texts.cut(call.text("text"), call.texts("stop"));
            case "matching":
                Rule rule =
                        new Rule(
                                call.texts("accepted"),
                                call.text("answer_type"),
                                call.flag("verbatim"),
                                call.flag("kept") ? reasoning : null);
                return Matching.reply(call.text("text"), rule).name();
            default:
                throw new JsonException("no such call");
        }
    }

    private static int whole(JsonObject call, String key) throws JsonException {
        return (int) call.whole(key, 0);
    }
}
