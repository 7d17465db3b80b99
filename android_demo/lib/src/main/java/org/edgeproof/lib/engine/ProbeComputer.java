package org.edgeproof.lib.engine;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.engine.Programs.Program;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;

/** The probe program: llama.cpp on this processor. */
public final class ProbeComputer implements Computer {
    private final ProbeProcess process;
    private final Report report;

    private ProbeComputer(ProbeProcess process, Report report) {
        this.process = process;
        this.report = report;
    }

    /**
     * Starts the best program and lets it load the model.
     *
     * @param journal where it keeps answers, so that a killed run goes on; null for nowhere
     * @param origin what else an earlier run's answers depend on: device, build of Android
     * @param patience milliseconds that one answer may take
     */
    public static ProbeComputer open(
            Programs programs, File model, File journal, String origin, int threads, long patience, Beat beat)
            throws RunException {
        Map<String, Object> opening = new LinkedHashMap<>();
        opening.put("model", model.getPath());
        opening.put("threads", threads);
        if (journal != null) {
            opening.put("journal", journal.getPath());
        }
        return open(programs, opening, origin, patience, beat);
    }

    /** Starts the best program as a tokenizer: it loads no weights and computes nothing. */
    public static ProbeComputer vocabulary(Programs programs, File model, long patience, Beat beat)
            throws RunException {
        Map<String, Object> opening = new LinkedHashMap<>();
        opening.put("model", model.getPath());
        opening.put("vocabulary_only", true);
        return open(programs, opening, "", patience, beat);
    }

    private static ProbeComputer open(
            Programs programs, Map<String, Object> opening, String origin, long patience, Beat beat)
            throws RunException {
        Program program = programs.best(beat);
        String digest;
        try {
            digest = Digest.of(program.file, beat);
        } catch (IOException wrong) {
            throw new RunException(Reason.PROCESSOR, "cannot read the probe program: install the app again", wrong);
        }
        opening.put("origin", origin + "; " + program.variant + ", sha256 " + digest);
        ProbeProcess process = new ProbeProcess(program.command(), patience, beat);
        try {
            String said = process.ask(Collections.singletonMap("open", opening));
            return new ProbeComputer(process, report(ProbeProcess.parsed(said).object("info"), digest));
        } catch (JsonException wrong) {
            process.close();
            throw nonsense("of itself", wrong);
        } catch (RunException wrong) {
            process.close();
            throw wrong;
        }
    }

    private static Report report(JsonObject info, String program) throws JsonException {
        List<String> devices = info.texts("devices");
        boolean onCpu = devices.equals(Collections.singletonList("CPU"));
        EngineInfo engine =
                new EngineInfo("probe", info.text("engine"), onCpu ? "cpu" : "unknown", devices.toString(), true);
        return new Report(
                engine,
                info.text("sha256"),
                program,
                info.text("variant"),
                info.text("features"),
                info.whole("threads", 0),
                info.whole("resumed", 0));
    }

    @Override
    public Report report() {
        return report;
    }

    @Override
    public String score(Request request, int[] context) throws RunException {
        Map<String, Object> asked = new LinkedHashMap<>();
        asked.put("context", context);
        asked.put("continuation", request.continuation);
        return process.ask(line(request.id, "score", asked));
    }

    @Override
    public List<String> generate(List<Request> requests, List<int[]> contexts) throws RunException {
        for (int index = 0; index < requests.size(); index++) {
            Request request = requests.get(index);
            Map<String, Object> asked = new LinkedHashMap<>();
            asked.put("context", contexts.get(index));
            asked.put("max_tokens", request.maxTokens);
            asked.put("stop", request.stop);
            asked.put("temperature", request.temperature);
            asked.put("uniforms", request.uniforms);
            asked.put("special", request.special);
            process.send(line(request.id, "generate", asked));
        }
        process.send(Collections.singletonMap("flush", true));
        List<String> found = new ArrayList<>();
        while (found.size() < requests.size()) {
            found.add(process.receive());
        }
        return found;
    }

    @Override
    public int[] tokenize(String text) throws RunException {
        Object asked = Collections.singletonMap("text", text);
        try {
            return ProbeProcess.parsed(process.ask(Collections.singletonMap("tokenize", asked))).integers("tokens");
        } catch (JsonException wrong) {
            throw nonsense("of tokens", wrong);
        }
    }

    @Override
    public byte[] spell(int[] tokens, boolean special) throws RunException {
        Map<String, Object> asked = new LinkedHashMap<>();
        asked.put("tokens", tokens);
        asked.put("special", special);
        String said = process.ask(Collections.singletonMap("spell", asked));
        try {
            byte[] bytes = Digest.bytes(ProbeProcess.parsed(said).text("bytes"));
            if (bytes != null) {
                return bytes;
            }
        } catch (JsonException wrong) {
            throw nonsense("of a text", wrong);
        }
        throw nonsense("of a text", null);
    }

    @Override
    public Usage usage() throws RunException {
        try {
            JsonObject usage =
                    ProbeProcess.parsed(process.ask(Collections.singletonMap("usage", true))).object("usage");
            double seconds = usage.number("seconds", 0, 1e12);
            double tokens = usage.number("tokens", 0, 1e15);
            return new Usage(seconds > 0 ? tokens / seconds : 0, usage.whole("peak_rss", 0));
        } catch (JsonException wrong) {
            throw nonsense("of its speed", wrong);
        }
    }

    @Override
    public void finish() throws RunException {
        process.ask(Collections.singletonMap("finish", true));
    }

    @Override
    public void close() {
        process.close();
    }

    private static Map<String, Object> line(int id, String kind, Object asked) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", id);
        line.put(kind, asked);
        return line;
    }

    private static RunException nonsense(String what, Throwable cause) {
        return new RunException(Reason.ENGINE, "what the probe says " + what + " makes no sense", cause);
    }
}
