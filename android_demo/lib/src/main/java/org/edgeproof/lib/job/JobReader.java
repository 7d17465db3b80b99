package org.edgeproof.lib.job;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.edgeproof.lib.json.Base64;
import org.edgeproof.lib.json.Integers;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.match.Thinking;

/** Reads a job file, and checks all of it before anything is computed. */
public final class JobReader {
    /** The one version of job files that this library knows. */
    public static final long VERSION = 1;

    private static final int KEY_BYTES = 32;
    private static final Pattern ID = Pattern.compile("[0-9a-f]{32}");
    private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");
    private static final List<String> KNOWN =
            Arrays.asList(
                    "edgeproof_job", "id", "edgeproof", "key", "compute", "artifact", "pack", "baseline", "policy",
                    "memory", "context", "bos", "rules", "controls", "forget", "probes", "asks", "contexts", "splices",
                    "requests", "chat", "end_of_reasoning");

    private JobReader() {}

    /** Whether {@code id} may be a job's id, and therefore a folder's name. */
    public static boolean isId(String id) {
        return id != null && ID.matcher(id).matches();
    }

    /**
     * Reads a job.
     *
     * @throws JobException it is no job, of another version, or does not fit together
     */
    public static Job read(String text) throws JobException {
        try {
            return checked(JsonObject.read(text, "job"));
        } catch (JsonException wrong) {
            throw new JobException("the job file is damaged: " + wrong.getMessage() + "; make it again", wrong);
        }
    }

    private static Job checked(JsonObject all) throws JobException, JsonException {
        if (!all.has("edgeproof_job")) {
            throw new JobException("this file is no job: make one with `export-edge phone job`");
        }
        long version = all.whole("edgeproof_job", 0);
        if (version != VERSION) {
            throw new JobException(
                    "the job is of version " + version + ", this app reads version " + VERSION
                            + ": make the job with the edgeproof that built this app");
        }
        all.allow(KNOWN);
        Job.Parts parts = new Job.Parts();
        parts.id = matching(all, "id", ID);
        parts.writer = all.text("edgeproof");
        parts.key = key(all);
        parts.compute = oneOf(all, "compute", "cpu", "gpu", "npu");
        parts.artifact = artifact(all.object("artifact"));
        parts.packName = all.object("pack").text("name");
        matching(all.object("pack"), "sha256", SHA256);
        matching(all.object("baseline"), "sha256", SHA256);
        matching(all.object("policy"), "sha256", SHA256);
        parts.memory = all.object("memory").whole("bytes", 1);
        parts.context = (int) within(all.whole("context", 1), Integer.MAX_VALUE, "job.context");
        parts.bos = all.has("bos") ? (int) within(all.whole("bos", 0), Integer.MAX_VALUE, "job.bos") : Request.NONE;
        parts.endOfReasoning = expression(all);
        parts.chat = all.has("chat") ? chat(all.object("chat")) : null;
        parts.rules = rules(all.object("rules"));
        parts.controls = controls(all.object("controls"));
        parts.forget = forget(all.object("forget"));
        parts.probes = Collections.unmodifiableList(probes(all.objects("probes")));
        parts.contexts = Collections.unmodifiableList(contexts(all));
        RequestReader reader = new RequestReader(parts.contexts, all.objects("splices"), all.objects("requests"));
        parts.splices = reader.splices();
        parts.requests = reader.requests();
        parts.asks = AskReader.read(all.objects("asks"), parts);
        return new Job(parts);
    }

    private static byte[] key(JsonObject all) throws JsonException {
        byte[] key = Base64.decode(all.text("key"));
        if (key == null || key.length != KEY_BYTES) {
            throw new JsonException("job.key is not " + KEY_BYTES + " bytes in base64");
        }
        return key;
    }

    private static Job.Artifact artifact(JsonObject object) throws JsonException {
        return new Job.Artifact(
                object.text("name"),
                matching(object, "sha256", SHA256),
                object.whole("bytes", 1),
                object.text("format"));
    }

    private static Pattern expression(JsonObject all) throws JsonException {
        try {
            return Thinking.endOfReasoning(all.text("end_of_reasoning"));
        } catch (PatternSyntaxException wrong) {
            throw new JsonException("job.end_of_reasoning is no regular expression");
        }
    }

    private static Job.Chat chat(JsonObject object) throws JsonException {
        return new Job.Chat(
                object.text("start"), object.text("asked"), object.has("replied") ? object.text("replied") : null);
    }

    private static Rules rules(JsonObject object) throws JsonException {
        return new Rules(
                oneOf(object, "leak_rule", "share", "subjects").equals("subjects"),
                object.number("leak_share", 0, 1),
                object.whole("queries", 1),
                object.number("probability", 0, 1),
                object.whole("critical_queries", 1),
                object.number("critical_probability", 0, 1),
                object.whole("samples", 0),
                object.number("alpha", 1e-9, 0.5),
                object.whole("tests", 1),
                object.has("quantization_cost") ? object.number("quantization_cost", 0, 1e3) : Double.NaN,
                object.has("unlearning_cost") ? object.number("unlearning_cost", 0, 1e3) : Double.NaN);
    }

    private static Controls controls(JsonObject object) throws JsonException {
        return new Controls(
                control(object.object("positive")),
                control(object.object("strength")),
                object.flag("holdout_needed"),
                object.whole("holdout_in_format", 0));
    }

    private static Controls.Control control(JsonObject object) throws JsonException {
        return new Controls.Control(object.flag("holds"), object.text("found"), object.text("mend"));
    }

    private static Forget forget(JsonObject object) throws JsonException {
        return new Forget(
                Collections.unmodifiableSet(new HashSet<>(object.texts("known"))),
                Collections.unmodifiableSet(new HashSet<>(object.texts("known_apart"))),
                object.flag("doubled"),
                object.flag("unlearned_missed"));
    }

    private static List<ProbeFacts> probes(List<JsonObject> objects) throws JsonException {
        List<ProbeFacts> found = new ArrayList<>();
        HashSet<String> seen = new HashSet<>();
        for (JsonObject one : objects) {
            ProbeFacts probe =
                    new ProbeFacts(
                            one.text("id"),
                            oneOf(one, "role", "forget", "retain", "holdout"),
                            one.text("cluster"),
                            one.text("apart"),
                            one.flag("critical"),
                            one.flag("trained"),
                            one.text("question"),
                            one.text("answer"));
            if (!seen.add(probe.id)) {
                throw new JsonException(one.where() + ".id occurs twice");
            }
            found.add(probe);
        }
        return found;
    }

    private static List<int[]> contexts(JsonObject all) throws JsonException {
        List<int[]> found = new ArrayList<>();
        for (Object one : all.list("contexts")) {
            if (!(one instanceof Integers) || ((Integers) one).isEmpty()) {
                throw new JsonException("job.contexts[" + found.size() + "] is no list of tokens");
            }
            found.add(tokens(((Integers) one).toArray32(), "job.contexts[" + found.size() + "]"));
        }
        return found;
    }

    static int[] tokens(int[] tokens, String where) throws JsonException {
        for (int token : tokens) {
            if (token < 0) {
                throw new JsonException(where + " holds a token below 0");
            }
        }
        return tokens;
    }

    static String oneOf(JsonObject object, String key, String... allowed) throws JsonException {
        String value = object.text(key);
        if (!Arrays.asList(allowed).contains(value)) {
            throw new JsonException(object.where() + "." + key + " is none of " + Arrays.toString(allowed));
        }
        return value;
    }

    static long within(long value, long most, String where) throws JsonException {
        if (value > most) {
            throw new JsonException(where + " is more than " + most);
        }
        return value;
    }

    private static String matching(JsonObject object, String key, Pattern form) throws JsonException {
        String value = object.text(key);
        if (!form.matcher(value).matches()) {
            throw new JsonException(object.where() + "." + key + " is not of the form " + form);
        }
        return value;
    }
}
