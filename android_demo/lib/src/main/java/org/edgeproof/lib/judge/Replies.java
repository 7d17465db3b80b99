package org.edgeproof.lib.judge;

import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.match.Matching;
import org.edgeproof.lib.match.Right;

/** Which replies are right. Each is matched once: a run is judged every second while it goes on. */
final class Replies {
    private final Answers answers;
    private final Right[][] found;

    Replies(Job job, Answers answers) {
        this.answers = answers;
        found = new Right[job.asks.size()][];
        for (Ask ask : job.asks) {
            found[ask.index] = new Right[1 + ask.samples.length];
        }
    }

    /** What the greedy reply is; WRONG where there is none yet. */
    Right greedy(Ask ask) {
        if (!ask.verbatim && answers.allGreedy(ask.answer)) {
            return ask.rightIfGreedy ? Right.RIGHT : Right.WRONG;
        }
        return reply(ask, 0, ask.greedy);
    }

    /** What a sampled reply is; WRONG where there is none yet. */
    Right sample(Ask ask, int index) {
        return reply(ask, 1 + index, ask.samples[index]);
    }

    private Right reply(Ask ask, int place, int request) {
        String text = answers.textOf(request);
        if (text == null) {
            return Right.WRONG;
        }
        Right[] own = found[ask.index];
        if (own[place] == null) {
            own[place] = Matching.reply(text, ask.rule);
        }
        return own[place];
    }
}
