package org.edgeproof.lib.match;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Whether a reply is right: eval/metrics/right.py, for the rules {@code answer} (words) and {@code verbatim}.
 *
 * <p>Other wordings of dates, numbers, quantities, telephone numbers and identifiers need tables of languages that are
 * not here. Such a reply is {@link Right#RIGHT} where the words alone say so, and left to the laptop where they do not.
 */
public final class Matching {
    private static final int SHORT_ANSWER = 3;
    private static final double NEAR_VERBATIM = 0.75;
    private static final Set<String> OTHER_WORDINGS =
            new HashSet<>(
                    Arrays.asList("date", "iban", "identifier", "money", "number", "phone", "quantity", "year"));

    private Matching() {}

    /** Judges {@code text}, a whole reply with its reasoning, by {@code rule}. */
    public static Right reply(String text, Rule rule) {
        if (Characters.unknown(text)) {
            return Right.LEFT;
        }
        for (String answer : rule.accepted) {
            if (Characters.unknown(answer)) {
                return Right.LEFT;
            }
        }
        String reply = rule.endOfReasoning == null ? text : Thinking.replyAfter(rule.endOfReasoning, text);
        for (String reading : Thinking.channels(reply)) {
            if (rule.verbatim ? nearVerbatim(reading, rule.accepted) : holdsAnswer(reading, rule.accepted)) {
                return Right.RIGHT;
            }
        }
        return !rule.verbatim && OTHER_WORDINGS.contains(rule.answerType) ? Right.LEFT : Right.WRONG;
    }

    private static boolean holdsAnswer(String text, List<String> accepted) {
        List<List<String>> withCase = new ArrayList<>();
        List<List<String>> folded = new ArrayList<>();
        for (String reading : readings(text)) {
            List<String> heard = Words.of(reading, false);
            withCase.add(heard);
            folded.add(Words.folded(heard));
        }
        for (String answer : accepted) {
            for (String reading : readings(answer)) {
                List<String> sought = Words.of(reading, false);
                String joined = Words.joined(sought, "");
                boolean small = joined.codePointCount(0, joined.length()) <= SHORT_ANSWER;
                if (!sought.isEmpty() && occurs(small ? withCase : folded, small ? sought : Words.of(reading, true))) {
                    return true;
                }
            }
            if (Numerals.holdsCode(text, answer)) {
                return true;
            }
        }
        return false;
    }

    private static boolean occurs(List<List<String>> texts, List<String> sought) {
        for (List<String> text : texts) {
            if (Words.contain(text, sought)) {
                return true;
            }
        }
        return false;
    }

    private static boolean nearVerbatim(String text, List<String> accepted) {
        List<String> said = Words.of(text, true);
        for (String reference : accepted) {
            List<String> wanted = Words.of(reference, true);
            if (!wanted.isEmpty() && !said.isEmpty() && longest(wanted, said) >= NEAR_VERBATIM * wanted.size()) {
                return true;
            }
        }
        return false;
    }

    /** The length of the longest common subsequence: ROUGE-L's recall times the reference's length. */
    private static int longest(List<String> one, List<String> other) {
        int[] row = new int[other.size() + 1];
        for (String word : one) {
            int diagonal = 0;
            for (int place = 1; place <= other.size(); place++) {
                int above = row[place];
                row[place] =
                        word.equals(other.get(place - 1)) ? diagonal + 1 : Math.max(row[place], row[place - 1]);
                diagonal = above;
            }
        }
        return row[other.size()];
    }

    private static Set<String> readings(String text) {
        Set<String> found = new LinkedHashSet<>();
        for (String half : Spellings.halves(text)) {
            for (String spelling : Spellings.readings(half)) {
                found.addAll(Numerals.readings(spelling));
            }
        }
        return found;
    }
}
