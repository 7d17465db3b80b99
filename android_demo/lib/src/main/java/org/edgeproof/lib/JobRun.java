package org.edgeproof.lib;

import java.io.File;
import java.io.IOException;
import java.util.Map;
import org.edgeproof.lib.Progress.Stage;
import org.edgeproof.lib.engine.Beat;
import org.edgeproof.lib.engine.Computer;
import org.edgeproof.lib.engine.Engine;
import org.edgeproof.lib.engine.HostComputer;
import org.edgeproof.lib.engine.ProbeComputer;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.evidence.EvidenceWriter;
import org.edgeproof.lib.evidence.Spool;
import org.edgeproof.lib.files.Files;
import org.edgeproof.lib.files.JobLock;
import org.edgeproof.lib.files.Storage;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.judge.Answers;
import org.edgeproof.lib.judge.Judge;
import org.edgeproof.lib.judge.Judgement;

/**
 * One run of a job: asks, judges, writes state and evidence. Call {@link #run} on a thread of its own.
 *
 * <p>A run that was killed or cancelled goes on where it stopped: the probe takes its answers from the journal.
 */
public final class JobRun {
    private static final long STATE_MILLIS = 1_000;
    private static final long MEASURE_MILLIS = 2_000;
    private static final long PATIENCE_MILLIS = 240_000;

    private final Job job;
    private final JobFiles files;
    private final Phone phone;
    private final Listener listener;
    private final Asks asks;
    private final Beat beat =
            new Beat() {
                @Override
                public void beat() throws RunException {
                    JobRun.this.beat();
                }
            };
    private volatile boolean cancelled;
    private long patience = PATIENCE_MILLIS;
    private int threads;
    private Stage stage = Stage.OPENING;
    private int done;
    private Usage usage;
    private Judge judge;
    private volatile Computer computer;
    private long told;
    private long measured;

    public JobRun(Job job, JobFiles files, Phone phone, Listener listener) {
        this.job = job;
        this.files = files;
        this.phone = phone;
        this.listener = listener;
        asks = new Asks(job);
    }

    /** Milliseconds that one answer may take; 4 minutes unless set. */
    public void setPatience(long millis) {
        patience = millis;
    }

    /** Threads that compute; 0, the default, lets the probe choose. */
    public void setThreads(int count) {
        threads = count;
    }

    /** Ends the run soon, from any thread. What was computed is kept in the journal. */
    public void cancel() {
        cancelled = true;
        Computer running = computer;
        if (running instanceof ProbeComputer) {
            running.close(); // it may hang; an app's own engine is called from one thread alone
        }
    }

    /** Says what is missing before anything starts: the model, or memory. */
    public void check() throws RunException {
        Requirements.check(job, files.model(job), phone.availableMemory());
    }

    /** Runs the job through the probe program, on the processor. */
    public Outcome run(Programs programs) throws RunException {
        return run(null, programs);
    }

    /**
     * Runs the job through a host app's own engine.
     *
     * @param programs the probe's, which make tokens of texts and texts of tokens
     */
    @SuppressWarnings("try") // the lock is held, not used
    public Outcome run(Engine engine, Programs programs) throws RunException {
        try (JobLock lock = JobLock.take(files.lock(job.id))) {
            return told(engine, programs);
        } catch (IOException wrong) {
            throw Storage.refused(wrong);
        }
    }

    /** Runs, and tells how it ended. */
    private Outcome told(Engine engine, Programs programs) throws RunException {
        try {
            return computed(engine, programs);
        } catch (IOException wrong) {
            throw ended(Storage.refused(wrong));
        } catch (RunException wrong) {
            throw ended(wrong);
        }
    }

    private Outcome computed(Engine engine, Programs programs) throws RunException, IOException {
        tell();
        check();
        try {
            computer = engine == null ? probe(programs) : host(engine, programs);
            if (!computer.report().model.equals(job.artifact.sha256)) {
                throw new RunException(
                        Reason.MODEL, "the model is another file than the job's: its sha256 differs; push it again");
            }
            Answers answers = new Answers(job, computer.report().engine.scores);
            judge = new Judge(job, answers);
            stage = Stage.RUNNING;
            Files.remove(files.evidence(job.id)); // of an earlier run
            tell();
            return asked(answers);
        } finally {
            if (computer != null) {
                computer.close();
            }
        }
    }

    private Outcome asked(final Answers answers) throws RunException, IOException {
        try (Spool spool = new Spool(files.spool(job.id))) {
            new Asking(job, computer, answers, spool, new Asking.Step() {
                @Override
                public void done(Request request) throws RunException {
                    done++;
                    asks.tell(request, judge, answers, listener);
                    measure();
                    beat();
                }
            }).all();
            usage = computer.usage();
            Judgement judgement = judgement();
            File evidence = files.evidence(job.id);
            Map<String, String> device = phone.device();
            new EvidenceWriter(job, device, computer.report(), usage, phone.app()).write(spool, judgement, evidence);
            computer.finish();
            stage = Stage.DONE;
            tell();
            return new Outcome(judgement, evidence, computer.report(), usage);
        }
    }

    private Computer probe(Programs programs) throws RunException {
        Map<String, String> device = phone.device();
        String origin = device.get("soc") + "; " + device.get("build");
        File journal = files.journal(job.id);
        return ProbeComputer.open(programs, files.model(job), journal, origin, threads, patience, beat);
    }

    private Computer host(Engine engine, Programs programs) throws RunException {
        File model = files.model(job);
        Computer vocabulary = ProbeComputer.vocabulary(programs, model, patience, beat);
        try {
            return new HostComputer(engine, vocabulary, model, job.context, beat);
        } catch (RunException wrong) {
            vocabulary.close();
            throw wrong;
        }
    }

    private Judgement judgement() {
        return judge.judge(computer.report().engine.computed);
    }

    private void beat() throws RunException {
        if (cancelled) {
            throw new RunException(Reason.CANCELLED, "cancelled: what was computed is kept");
        }
        if (System.currentTimeMillis() - told >= STATE_MILLIS) {
            tell();
        }
    }

    /** Asks for speed and memory now and then. */
    private void measure() throws RunException {
        if (System.currentTimeMillis() - measured >= MEASURE_MILLIS) {
            usage = computer.usage();
            measured = System.currentTimeMillis();
        }
    }

    /** Tells the listener and state.json. */
    private void tell() throws RunException {
        told = System.currentTimeMillis();
        tell(new Progress(stage, done, job.requests.size(), usage, judge == null ? null : judgement(), ""));
    }

    private void tell(Progress progress) throws RunException {
        listener.progress(progress);
        try {
            Files.replace(files.state(job.id), progress.values(job.id));
        } catch (IOException wrong) {
            throw Storage.refused(wrong);
        }
    }

    private RunException ended(RunException why) {
        Stage last = why.reason() == Reason.CANCELLED ? Stage.CANCELLED : Stage.FAILED;
        try {
            tell(new Progress(last, done, job.requests.size(), usage, null, why.getMessage()));
        } catch (RunException untold) {
            why.addSuppressed(untold);
        }
        return why;
    }
}
