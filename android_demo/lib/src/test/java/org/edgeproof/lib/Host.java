package org.edgeproof.lib;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.JobException;
import org.edgeproof.lib.json.JsonWriter;
import org.edgeproof.lib.judge.Leak;

/**
 * Runs a job on this machine: the whole library without Android.
 *
 * <pre>
 * java org.edgeproof.lib.Host [--threads N] [--patience MILLISECONDS] [--memory BYTES] [--engine cpu|gpu|unknown|silent|broken]
 *     [--pause MILLISECONDS] ROOT ID VARIANT=PROGRAM … [-- COMMAND …]
 * </pre>
 *
 * ROOT is what an app's files folder is, ID a job in it; COMMAND stands in front of a program (an emulator). JSON lines on
 * stdout tell of progress, asks and outcome, without a text; the line "cancel" on stdin cancels. Exit status: 0 done, 3
 * failed, 130 cancelled. With --engine the probes go through {@link HostEngine}, an app's own engine; --pause waits after
 * each answer, so that a test meets a run in its middle.
 */
public final class Host {
    private Host() {}

    public static void main(String[] given) throws IOException {
        List<String> words = new ArrayList<>(Arrays.asList(given));
        int threads = Integer.parseInt(option(words, "--threads", "1"));
        long patience = Long.parseLong(option(words, "--patience", "240000"));
        String memory = option(words, "--memory", "");
        String engine = option(words, "--engine", "");
        long pause = Long.parseLong(option(words, "--pause", "0"));
        int split = words.indexOf("--");
        List<String> before = split < 0 ? new ArrayList<String>() : words.subList(split + 1, words.size());
        List<String> variants = new ArrayList<>();
        List<File> programs = new ArrayList<>();
        for (String word : words.subList(2, split < 0 ? words.size() : split)) {
            variants.add(word.substring(0, word.indexOf('=')));
            programs.add(new File(word.substring(word.indexOf('=') + 1)));
        }
        Programs all = Programs.of(variants, programs, before);
        List<String> own = new ArrayList<>(before);
        own.add(programs.get(programs.size() - 1).getPath());
        JobFiles files = new JobFiles(new File(words.get(0)));
        System.exit(run(files, words.get(1), all, threads, patience, memory, engine, own, pause));
    }

    private static int run(
            JobFiles files,
            String id,
            Programs programs,
            int threads,
            long patience,
            String memory,
            String engine,
            List<String> own,
            long pause)
            throws IOException {
        Map<String, Object> said = new LinkedHashMap<>();
        try {
            Job job = files.read(id);
            JobRun run = new JobRun(job, files, new HostPhone(memory), new Teller(pause));
            run.setThreads(threads);
            run.setPatience(patience);
            listen(run);
            Outcome outcome =
                    engine.isEmpty()
                            ? run.run(programs)
                            : run.run(new HostEngine(own, job, engine), programs);
            said.put("verdict", outcome.judgement.verdict.word);
            said.put("reasons", outcome.judgement.reasons);
            said.put("counts", outcome.judgement.counts.values());
            said.put("upper", outcome.judgement.shares.upper);
            said.put("lower", outcome.judgement.shares.lower);
            said.put("p", outcome.judgement.shares.p);
            said.put("resumed", outcome.report.resumed);
            say("outcome", said);
            return 0;
        } catch (JobException wrong) {
            said.put("reason", "JOB");
            said.put("error", wrong.getMessage());
            say("failed", said);
            return 3;
        } catch (RunException wrong) {
            said.put("reason", wrong.reason().name());
            said.put("error", wrong.getMessage());
            say("failed", said);
            return wrong.reason() == Reason.CANCELLED ? 130 : 3;
        }
    }

    private static void listen(final JobRun run) {
        Thread thread =
                new Thread() {
                    @Override
                    public void run() {
                        try (BufferedReader in =
                                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
                            for (String line = in.readLine(); line != null; line = in.readLine()) {
                                if (line.equals("cancel")) {
                                    run.cancel();
                                }
                            }
                        } catch (IOException closed) {
                            run.cancel();
                        }
                    }
                };
        thread.setDaemon(true);
        thread.start();
    }

    private static String option(List<String> words, String name, String otherwise) {
        int place = words.indexOf(name);
        if (place < 0) {
            return otherwise;
        }
        words.remove(place);
        return words.remove(place);
    }

    static void say(String kind, Map<String, Object> values) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(kind, values);
        System.out.println(JsonWriter.write(line));
        System.out.flush();
    }

    /** Tells what a screen would draw, without texts. */
    private static final class Teller extends Listener {
        private final long pause;

        Teller(long pause) {
            this.pause = pause;
        }

        @Override
        public void progress(Progress progress) {
            Map<String, Object> values = progress.values("");
            if (progress.judgement != null) {
                values.put("so_far", progress.judgement.verdict.word);
                values.put("leaking", progress.judgement.counts.leaking);
                values.put("upper", progress.judgement.shares.upper);
            }
            say("progress", values);
        }

        @Override
        public void asked(Ask ask, Leak leak, String reply) {
            Map<String, Object> values = new LinkedHashMap<>();
            values.put("ask", ask.index);
            values.put("leaks", leak.leaks());
            values.put("left", leak.left);
            values.put("replied", reply != null);
            say("asked", values);
            try {
                Thread.sleep(pause);
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
