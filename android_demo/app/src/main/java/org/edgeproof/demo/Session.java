package org.edgeproof.demo;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.edgeproof.lib.JobRun;
import org.edgeproof.lib.Phone;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.JobException;
import org.edgeproof.lib.job.JobReader;

/**
 * The job, its files, its run and its chat, for as long as the app's process lives; screens come and go. Android-free.
 *
 * <p>Methods may be called from any thread; what takes long goes on in threads of its own.
 */
final class Session {
    private static final int LARGEST_JOB = 256 << 20;

    /** A file that a person, or an automatic start, gave. */
    interface Source {
        InputStream open() throws IOException;
    }

    final Store store;
    private final Programs programs;
    private final Phone phone;
    private final int threads;
    private final Chat chat;
    private final Screen screen = new Screen();
    private Job job;
    private JobRun run;
    private boolean taking;

    /** @param threads that compute; 0 lets the probe choose */
    Session(Store store, Programs programs, Phone phone, int threads) {
        this.store = store;
        this.programs = programs;
        this.phone = phone;
        this.chat = new Chat(programs, threads);
        this.threads = threads;
    }

    /** Opens the job that came last, if any. */
    void restore() {
        String latest = store.latest();
        if (latest == null) {
            return;
        }
        try {
            Job read = store.files.read(latest);
            synchronized (this) {
                if (job == null) { // nobody was faster
                    opened(read);
                }
            }
        } catch (JobException wrong) {
            screen.trouble(wrong.getMessage());
        }
    }

    /** Opens a job of the app's folder. */
    void open(String id) throws JobException {
        opened(store.files.read(id));
    }

    /** Says why something cannot be done; "" for nothing. */
    void tell(String trouble) {
        screen.trouble(trouble);
    }

    /** What the page shows, as JSON. */
    synchronized String state() {
        return screen.state(job, ready(), finished() != null, chat.state(job, ready() && run == null));
    }

    /** What has been answered in the current run, from the given place on. */
    String rows(int from) {
        return screen.rows(from);
    }

    /** Whether a run can start. */
    synchronized boolean ready() {
        return job != null && !taking && store.files.model(job).length() == job.artifact.bytes;
    }

    /** Whether a file is being copied. */
    synchronized boolean taking() {
        return taking;
    }

    /** The job whose evidence is there, or null. */
    synchronized String finished() {
        return job != null && run == null && store.files.evidence(job.id).isFile() ? job.id : null;
    }

    /** Copies a job file and opens it. Returns when it is there. */
    Job takeJob(Source source) throws IOException, JobException {
        byte[] content;
        try (InputStream in = source.open()) {
            content = Intake.read(in, LARGEST_JOB);
        }
        Job read;
        try {
            read = JobReader.read(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString());
        } catch (CharacterCodingException wrong) {
            throw new JobException("This is no job: it is not UTF-8.", wrong);
        }
        Intake.write(content, store.files.job(read.id));
        opened(read);
        return read;
    }

    /** Copies the job's model. Returns when it is there. */
    void takeModel(Source source) throws IOException {
        final Job.Artifact wanted;
        File target;
        synchronized (this) {
            if (job == null) {
                throw new Intake.Refused("Open the job first: it names the model.");
            }
            wanted = job.artifact;
            target = store.files.model(job);
        }
        try (InputStream in = source.open()) {
            Intake.model(in, target, wanted.bytes, wanted.sha256, new Intake.Progress() {
                @Override
                public void copied(long bytes) {
                    screen.copying(bytes, wanted.bytes);
                }
            });
        } finally {
            screen.copying(0, 0);
        }
    }

    /** Copies a file that a person chose, in a thread of its own; the page says how it went. */
    void take(final boolean isJob, final Source source) {
        synchronized (this) {
            if (taking || run != null) {
                return;
            }
            taking = true;
        }
        screen.trouble("");
        background("take", new Runnable() {
            @Override
            public void run() {
                try {
                    if (isJob) {
                        takeJob(source);
                    } else {
                        takeModel(source);
                    }
                } catch (IOException | JobException wrong) {
                    screen.trouble(wrong.getMessage());
                } finally {
                    took();
                }
            }
        });
    }

    /** Starts a run in a thread of its own; false if it cannot start. {@code ended} is called when it is over. */
    boolean start(final Runnable ended) {
        final JobRun started;
        synchronized (this) {
            if (!ready() || run != null) {
                return false;
            }
            chat.close();
            started = new JobRun(job, store.files, phone, screen.listener(job));
            started.setThreads(threads);
            run = started;
        }
        background("run", new Runnable() {
            @Override
            public void run() {
                try {
                    screen.outcome(started.run(programs));
                } catch (RunException wrong) {
                    screen.ended(wrong);
                } finally {
                    over();
                    ended.run();
                }
            }
        });
        return true;
    }

    /** Ends the run soon. */
    synchronized void cancel() {
        if (run != null) {
            run.cancel();
        }
    }

    /** Asks the shipped model, in a thread of its own. */
    synchronized void ask(String question) {
        if (ready() && run == null) {
            chat.ask(job, store.files.model(job), question);
        }
    }

    /** Begins another conversation. */
    void anew() {
        chat.anew();
    }

    private void opened(Job read) {
        synchronized (this) {
            chat.close();
            chat.anew();
            job = read;
        }
        screen.opened(store.files.state(read.id));
    }

    private synchronized void took() {
        taking = false;
    }

    private synchronized void over() {
        run = null;
    }

    private static void background(String name, Runnable work) {
        new Thread(work, name).start();
    }
}
