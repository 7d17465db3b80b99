package org.edgeproof.lib;

import java.io.File;
import org.edgeproof.lib.engine.Report;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.judge.Judgement;

/** A job that ran to its end. */
public final class Outcome {
    public final Judgement judgement;
    public final File evidence;
    public final Report report;
    public final Usage usage;

    Outcome(Judgement judgement, File evidence, Report report, Usage usage) {
        this.judgement = judgement;
        this.evidence = evidence;
        this.report = report;
        this.usage = usage;
    }
}
