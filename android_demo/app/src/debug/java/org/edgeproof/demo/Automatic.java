package org.edgeproof.demo;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.JobException;
import org.edgeproof.lib.json.JsonException;
import org.edgeproof.lib.json.JsonObject;

/** A run that nobody watches: takes what a door names, runs it, and says how it went. Android-free. */
final class Automatic {
    private static final long STEP_MILLIS = 1_000;

    private final Session session;

    /** Where evidence is copied for device farms without `run-as`, or null. */
    private final File out;

    /** Hears how the run goes on. */
    interface Watcher {
        /** About once a second. The values are texts and numbers, and hold no text of a probe. */
        void told(Map<String, Object> state);
    }

    Automatic(Session session, File out) {
        this.session = session;
        this.out = out;
    }

    /** What is said of a door that names nothing to run. */
    static Map<String, Object> refused(Intake.Refused why) {
        return result("failed", "", why.getMessage(), "");
    }

    /** Runs to the end: {"stage", "verdict", "error", "evidence"}; evidence is "" if there is none. */
    Map<String, Object> run(Door door, Watcher watcher) {
        String job = "";
        try {
            job = taken(door);
            if (!ran(watcher)) {
                throw new Intake.Refused("Another run is under way, or the model is not here.");
            }
            return ended(job, "");
        } catch (IOException | JobException | JsonException wrong) {
            return ended("", String.valueOf(wrong.getMessage()));
        } catch (InterruptedException stop) {
            session.cancel();
            Thread.currentThread().interrupt();
            return ended(job, "interrupted");
        }
    }

    private String taken(Door door) throws IOException, JobException {
        File file = door.job == null ? new File(door.from, "job.json") : session.store.files.job(door.job);
        if (!file.isFile()) {
            throw new Intake.Refused("There is no job.json at the place that was named.");
        }
        if (door.job != null) {
            session.open(door.job);
            return door.job;
        }
        Job job = session.takeJob(source(file));
        File model = new File(door.from, job.artifact.name);
        if (!session.ready()) {
            if (!model.isFile()) {
                throw new Intake.Refused("Beside job.json there is no file " + job.artifact.name + ".");
            }
            session.takeModel(source(model));
        }
        return job.id;
    }

    private boolean ran(Watcher watcher) throws InterruptedException, JsonException {
        final CountDownLatch over = new CountDownLatch(1);
        boolean started = session.start(new Runnable() {
            @Override
            public void run() {
                over.countDown();
            }
        });
        while (started && !over.await(STEP_MILLIS, TimeUnit.MILLISECONDS)) {
            watcher.told(state());
        }
        return started;
    }

    private Map<String, Object> ended(String job, String error) {
        if (!error.isEmpty()) {
            return result("failed", "", error, "");
        }
        try {
            JsonObject state = JsonObject.read(session.state(), "the state");
            boolean done = state.text("stage").equals("done");
            return result(
                    state.text("stage"), done ? state.text("verdict") : "", state.text("trouble"),
                    done ? handed(job) : "");
        } catch (IOException | JsonException wrong) {
            return result("failed", "", String.valueOf(wrong.getMessage()), "");
        }
    }

    private static Map<String, Object> result(String stage, String verdict, String error, String evidence) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("stage", stage);
        told.put("verdict", verdict);
        told.put("error", error);
        told.put("evidence", evidence);
        return told;
    }

    private Map<String, Object> state() throws JsonException {
        JsonObject state = JsonObject.read(session.state(), "the state");
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("stage", state.text("stage"));
        told.put("done", state.whole("done", 0));
        told.put("total", state.whole("total", 0));
        return told;
    }

    private String handed(String job) throws IOException {
        File evidence = session.store.files.evidence(job);
        if (out != null) {
            try (InputStream in = new FileInputStream(evidence)) {
                Intake.write(Intake.read(in, Integer.MAX_VALUE), new File(out, job + ".jsonl"));
            }
        }
        return "jobs/" + job + "/" + evidence.getName();
    }

    private static Session.Source source(final File file) {
        return new Session.Source() {
            @Override
            public InputStream open() throws IOException {
                return new FileInputStream(file);
            }
        };
    }
}
