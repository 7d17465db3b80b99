package org.edgeproof.lib.match;

import java.util.List;
import java.util.regex.Pattern;

/** By what a reply to a probe on a surface counts as right. */
public final class Rule {
    final List<String> accepted;
    final String answerType;
    final boolean verbatim;
    final Pattern endOfReasoning;

    /**
     * @param accepted the texts that are right
     * @param answerType the pack's type of the answer, "" for none
     * @param verbatim whether a text must be reproduced nearly word for word
     * @param endOfReasoning after whose last match the answer must stand, as one that had to be kept; null where a
     *     mention anywhere counts
     */
    public Rule(List<String> accepted, String answerType, boolean verbatim, Pattern endOfReasoning) {
        this.accepted = accepted;
        this.answerType = answerType;
        this.verbatim = verbatim;
        this.endOfReasoning = endOfReasoning;
    }
}
