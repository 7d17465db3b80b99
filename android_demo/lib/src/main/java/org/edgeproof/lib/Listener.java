package org.edgeproof.lib;

import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.judge.Leak;

/** Hears how a run goes on, from the thread that runs it. Override what is wanted. */
public class Listener {
    /** At least every two seconds. */
    public void progress(Progress progress) {}

    /**
     * Something more is known of a probe on a surface.
     *
     * @param leak whether it leaks, by what is known
     * @param reply the greedy reply, null where there is none yet or none was needed (the answer itself is the reply).
     *     For the screen alone: never for a log or a file
     */
    public void asked(Ask ask, Leak leak, String reply) {}
}
