package org.edgeproof.lib;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.edgeproof.lib.engine.Computer;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.evidence.Spool;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.judge.Answers;
import org.edgeproof.lib.json.JsonWriter;

/** Sends a job's requests to what computes, in their order, and keeps the answers. */
final class Asking {
    private final Job job;
    private final Computer computer;
    private final Answers answers;
    private final Spool spool;
    private final Step step;
    private final boolean scores;
    private final List<Request> waiting = new ArrayList<>();
    private final List<int[]> contexts = new ArrayList<>();

    /** Hears of each request that is answered, or need not be asked. */
    interface Step {
        void done(Request request) throws RunException;
    }

    Asking(Job job, Computer computer, Answers answers, Spool spool, Step step) {
        this.job = job;
        this.computer = computer;
        this.answers = answers;
        this.spool = spool;
        this.step = step;
        scores = computer.report().engine.scores;
    }

    /** Asks all of them. */
    void all() throws RunException, IOException {
        for (Request request : job.requests) {
            if (request.isScore()) {
                flush();
            }
            if (isLeftOut(request)) {
                step.done(request);
            } else if (request.isScore()) {
                int[] context = context(request);
                String line = computer.score(request, context);
                answers.score(request, line);
                keep(request, context, line);
            } else {
                contexts.add(context(request));
                waiting.add(request);
                if (waiting.size() == Computer.MOST) {
                    flush();
                }
            }
        }
        flush();
    }

    private boolean isLeftOut(Request request) {
        if (!scores) {
            return request.isScore();
        }
        return request.unless != Request.NONE && answers.allGreedy(request.unless);
    }

    private int[] context(Request request) throws RunException, IOException {
        if (request.splice == Request.NONE) {
            return job.contexts.get(request.context);
        }
        int reply = job.splices.get(request.splice).reply;
        if (!answers.has(reply)) {
            flush();
        }
        return Texts.context(job, job.splices.get(request.splice), answers.textOf(reply), computer);
    }

    private void flush() throws RunException, IOException {
        if (waiting.isEmpty()) {
            return;
        }
        List<String> lines = computer.generate(waiting, contexts);
        for (int index = 0; index < waiting.size(); index++) {
            Request request = waiting.get(index);
            String line = lines.get(index);
            answers.text(request, Texts.reply(request, answers.tokens(request, line), computer));
            keep(request, contexts.get(index), line);
        }
        waiting.clear();
        contexts.clear();
    }

    private void keep(Request request, int[] context, String line) throws RunException, IOException {
        boolean spliced = request.splice != Request.NONE;
        spool.add(spliced ? "{\"context\":" + JsonWriter.write(context) + "," + line.substring(1) : line);
        step.done(request);
    }
}
