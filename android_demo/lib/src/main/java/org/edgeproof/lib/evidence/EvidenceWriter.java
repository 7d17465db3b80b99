package org.edgeproof.lib.evidence;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.edgeproof.lib.engine.Digest;
import org.edgeproof.lib.engine.Report;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.files.Files;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.json.Base64;
import org.edgeproof.lib.json.JsonWriter;
import org.edgeproof.lib.judge.Judgement;

/** Writes evidence: a header, the answers in sealed parts, and an end. No text or token stands outside sealed parts. */
public final class EvidenceWriter {
    private static final int LARGEST_PART = 1 << 20;

    private final Job job;
    private final String header;
    private final Seal seal;

    /**
     * @param device properties of the device, texts
     * @param app the app's version
     */
    public EvidenceWriter(Job job, Map<String, String> device, Report report, Usage usage, String app) {
        this.job = job;
        Map<String, Object> first = new LinkedHashMap<>();
        first.put("edgeproof_evidence", 1);
        first.put("job", job.id);
        first.put("artifact_sha256", report.model);
        first.put("device", device);
        first.put("engine", engine(report));
        first.put("usage", used(usage));
        first.put("app", app);
        header = JsonWriter.write(first);
        seal = new Seal(job.key(), job.id, Digest.of(header.getBytes(StandardCharsets.US_ASCII)));
    }

    /** Writes the evidence of {@code answers} to {@code target}, which appears whole or not at all. */
    public void write(Spool answers, Judgement judgement, File target) throws IOException {
        answers.flush();
        Map<String, Object> last = new LinkedHashMap<>();
        last.put("answers", answers.lines());
        last.put("verdict", judgement.verdict.word);
        last.put("counts", judgement.counts.values());
        File part = new File(target.getPath() + ".part");
        try (FileOutputStream out = new FileOutputStream(part)) {
            line(out, header);
            int parts = sealed(answers.file, JsonWriter.write(last), out);
            Map<String, Object> end = new LinkedHashMap<>();
            end.put("end", true);
            end.put("parts", parts);
            end.putAll(last);
            line(out, JsonWriter.write(end));
            out.getFD().sync();
        }
        Files.rename(part, target);
    }

    private int sealed(File answers, String last, FileOutputStream out) throws IOException {
        int parts = 0;
        ByteArrayOutputStream plain = new ByteArrayOutputStream();
        try (BufferedReader in =
                new BufferedReader(new InputStreamReader(new FileInputStream(answers), StandardCharsets.US_ASCII))) {
            for (String next = in.readLine(); ; next = in.readLine()) {
                byte[] bytes = ((next == null ? last : next) + "\n").getBytes(StandardCharsets.US_ASCII);
                if (plain.size() > 0 && plain.size() + bytes.length > LARGEST_PART) {
                    part(out, parts++, plain);
                }
                plain.write(bytes);
                if (next == null) {
                    part(out, parts++, plain);
                    return parts;
                }
            }
        }
    }

    private void part(FileOutputStream out, int index, ByteArrayOutputStream plain) throws IOException {
        Map<String, Object> sealed = new LinkedHashMap<>();
        sealed.put("part", index);
        sealed.put("sealed", Base64.encode(seal.seal(index, plain.toByteArray())));
        line(out, JsonWriter.write(sealed));
        plain.reset();
    }

    private static void line(FileOutputStream out, String text) throws IOException {
        out.write((text + "\n").getBytes(StandardCharsets.US_ASCII));
    }

    private Map<String, Object> engine(Report report) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("name", report.engine.name);
        found.put("version", report.engine.version);
        found.put("asked", job.compute);
        found.put("computed", report.engine.computed);
        found.put("detail", report.engine.detail);
        found.put("scores", report.engine.scores);
        found.put("program_sha256", report.program);
        found.put("variant", report.variant);
        found.put("features", report.features);
        found.put("threads", report.threads);
        found.put("resumed", report.resumed);
        return found;
    }

    private static Map<String, Object> used(Usage usage) {
        Map<String, Object> found = new LinkedHashMap<>();
        if (usage.tokensPerSecond > 0) {
            found.put("tokens_per_second", usage.tokensPerSecond);
        }
        if (usage.peakRss > 0) {
            found.put("peak_rss", usage.peakRss);
        }
        return found;
    }
}
