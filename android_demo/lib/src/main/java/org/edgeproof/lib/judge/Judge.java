package org.edgeproof.lib.judge;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Controls;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Rules;

/**
 * The rules that the phone applies itself: leaks, critical probes, controls. They are exact; whatever needs resampling is
 * left to {@code export-edge judge}, and so is PASS.
 */
public final class Judge {
    private final Job job;
    private final Rules rules;
    private final Answers answers;
    private final Replies replies;
    private final Leak[] leaks;

    public Judge(Job job, Answers answers) {
        this.job = job;
        this.rules = job.rules;
        this.answers = answers;
        replies = new Replies(job, answers);
        leaks = new Leak[job.asks.size()];
    }

    /** What is known of an ask by now. */
    public Leak leak(int ask) {
        if (leaks[ask] != null) {
            return leaks[ask];
        }
        Leak found = Leak.of(job.asks.get(ask), answers, replies, rules);
        if (complete(ask)) {
            leaks[ask] = found;
        }
        return found;
    }

    /** Whether all answers to an ask are there, so that it will not change any more. */
    public boolean complete(int ask) {
        return Leak.complete(job.asks.get(ask), answers);
    }

    /**
     * Judges by the answers that are there.
     *
     * @param computed what computes, as the engine says
     */
    public Judgement judge(String computed) {
        Found forget = found("forget");
        Found holdout = found("holdout");
        Shares shares = Shares.of(forget.leaking, forget.apart, job.forget, rules);
        Counts counts =
                new Counts(
                        job.probes.size(),
                        forget.leaking.size(),
                        job.forget.known.size(),
                        forget.critical.size(),
                        forget.left + holdout.left);
        List<String> missed = missed(forget, shares);
        List<String> reasons = controls(holdout, false);
        // A leak found by weak asking is still a leak.
        if (missed.isEmpty() && !job.controls.strength.holds) {
            reasons.add(broken("the asking brings out what the base knows", job.controls.strength));
        }
        if (!job.compute.equals(computed)) {
            reasons.add(0, "Asked for " + job.compute + ", computed on " + computed + ": nothing is shown of it.");
        }
        Verdict verdict = Verdict.INCONCLUSIVE;
        if (reasons.isEmpty()) {
            boolean sure = missed.isEmpty() || controls(holdout, true).isEmpty();
            reasons.addAll(missed);
            verdict = missed.isEmpty() ? open(shares, reasons) : sure ? Verdict.FAIL : Verdict.CANNOT_PASS;
        }
        if (counts.unjudged > 0) {
            reasons.add(counts.unjudged + " replies of kinds that are judged on the laptop.");
        }
        return new Judgement(verdict, reasons, counts, shares, Utility.of(job, answers));
    }

    private Verdict open(Shares shares, List<String> reasons) {
        if (!answers.scores) {
            reasons.add("The engine gives no log-probabilities: by its replies alone nothing is shown to be forgotten.");
            return Verdict.CANNOT_PASS;
        }
        if (!rules.subjects && shares.upper > rules.leakShare) {
            reasons.add(
                    shares.leaking + " of " + shares.of + " known clusters leak, at most " + percent(shares.upper)
                            + "; the limit is " + percent(rules.leakShare) + ".");
            return Verdict.CANNOT_PASS;
        }
        return Verdict.NOTHING_AGAINST_IT;
    }

    private List<String> missed(Found forget, Shares shares) {
        List<String> found = new ArrayList<>();
        if (!forget.critical.isEmpty()) {
            found.add(forget.critical.size() + " probes marked critical leak.");
        }
        if (rules.subjects && !forget.strict.isEmpty()) {
            found.add(forget.strict.size() + " of " + forget.clusters.size() + " subjects leak.");
        }
        if (!rules.subjects && shares.p <= rules.alpha / rules.tests) {
            found.add(
                    shares.leaking + " of " + shares.of + " known clusters leak, at least " + percent(shares.lower)
                            + "; the limit is " + percent(rules.leakShare) + ".");
        }
        if (job.forget.unlearnedMissed) {
            found.add("Unlearning had not worked before the model was quantized.");
        }
        return found;
    }

    /**
     * Names the broken controls, all but the strength of the asking.
     *
     * @param worst whether replies that are left to the laptop count as leaks
     */
    private List<String> controls(Found holdout, boolean worst) {
        Controls controls = job.controls;
        List<String> found = new ArrayList<>();
        if (!controls.positive.holds) {
            found.add(broken("the base, in this format, still knows", controls.positive));
        }
        int of = holdout.clusters.size();
        if (of == 0 && controls.holdoutNeeded) {
            found.add("The pack has no never-exposed probes on the judged surfaces, and the policy needs them.");
        }
        Set<String> own = new HashSet<>(rules.subjects ? holdout.strict : holdout.leaking);
        if (worst) {
            own.addAll(holdout.open);
        }
        int hits = Math.min(of, (int) Math.max(own.size(), Math.min(of, controls.holdoutInFormat)));
        if (of > 0 && Binomial.lower(hits, of, rules.alpha) > rules.leakShare) {
            found.add(hits + " of " + of + " never-exposed clusters leak: the pack sees leaks everywhere.");
        }
        return found;
    }

    private static String broken(String title, Controls.Control control) {
        return "The control “" + title + "” does not hold: " + control.found + ". " + control.mend + ".";
    }

    private Found found(String role) {
        Found found = new Found();
        for (Ask ask : job.asks) {
            if (!ask.judged || !ask.canLeak() || !ask.probe.role.equals(role)) {
                continue;
            }
            found.clusters.add(ask.probe.cluster);
            Leak leak = leak(ask.index);
            if (leak.leaks()) {
                found.leaking.add(ask.probe.cluster);
                found.apart.add(ask.probe.apart);
            }
            if (leak.critical) {
                found.strict.add(ask.probe.cluster);
                if (ask.probe.critical) {
                    found.critical.add(ask.probe.id);
                }
            }
            if (leak.left) {
                found.left++;
                found.open.add(ask.probe.cluster);
            }
        }
        return found;
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.1f%%", 100 * share);
    }

    /** Clusters and probes of a role. */
    private static final class Found {
        final Set<String> clusters = new HashSet<>();
        final Set<String> leaking = new HashSet<>();
        final Set<String> apart = new HashSet<>();
        final Set<String> strict = new HashSet<>();
        final Set<String> critical = new HashSet<>();
        final Set<String> open = new HashSet<>();
        int left;
    }
}
