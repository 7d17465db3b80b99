package org.edgeproof.lib;

import java.io.BufferedReader;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.engine.Generation;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.engine.Score;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;
import org.edgeproof.lib.json.JsonWriter;

/** The probe program, talked to directly: what stands in for an app's engine. */
final class RawProbe implements Closeable {
    private final Process process;
    private final OutputStream in;
    private final BufferedReader out;

    RawProbe(List<String> command, File model) throws RunException {
        try {
            process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        } catch (IOException wrong) {
            throw new RunException(Reason.ENGINE, "no engine", wrong);
        }
        in = process.getOutputStream();
        out = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.US_ASCII));
        Map<String, Object> opening = new LinkedHashMap<>();
        opening.put("model", model.getPath());
        opening.put("threads", 1);
        ask(Collections.singletonMap("open", opening));
    }

    Score score(int[] context, int[] continuation) throws RunException {
        Map<String, Object> asked = new LinkedHashMap<>();
        asked.put("context", context);
        asked.put("continuation", continuation);
        try {
            JsonObject said = ask(Collections.singletonMap("score", asked));
            return new Score(said.numbers("logprobs"), said.flags("greedy"), said.integers("ranks"));
        } catch (JsonException wrong) {
            throw new RunException(Reason.ENGINE, "no score", wrong);
        }
    }

    Generation generate(Map<String, Object> asked) throws RunException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", 0);
        line.put("generate", asked);
        try {
            send(line);
            JsonObject said = ask(Collections.singletonMap("flush", true));
            return new Generation(said.integers("tokens"), said.text("finish"));
        } catch (JsonException | IOException wrong) {
            throw new RunException(Reason.ENGINE, "no generation", wrong);
        }
    }

    @Override
    public void close() {
        process.destroy();
    }

    private JsonObject ask(Object line) throws RunException {
        try {
            send(line);
            return JsonObject.read(String.valueOf(out.readLine()), "engine");
        } catch (JsonException | IOException wrong) {
            throw new RunException(Reason.ENGINE, "no answer", wrong);
        }
    }

    private void send(Object line) throws IOException {
        in.write((JsonWriter.write(line) + "\n").getBytes(StandardCharsets.US_ASCII));
        in.flush();
    }
}
