package org.edgeproof.lib.match;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Character classes of Python's regular expressions, written out: Java's \w, \s and \b differ, and Android's again. */
final class Regex {
    /** Within brackets: {@code [^\W\d_]}. */
    static final String LETTER = "\\p{L}\\p{Nl}\\p{No}";

    /** Within brackets: {@code [^\W_]}. */
    static final String ALPHANUMERIC = "\\p{L}\\p{N}";

    /** {@code \b} after a letter. */
    static final String WORD_ENDS = "(?![\\p{L}\\p{N}_])";

    /** Within brackets: {@code \s} without the line break. */
    static final String SPACE_BUT_BREAK =
            "\\t\\x0b-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

    private Regex() {}

    /** Replaces each match by what {@code rule} makes of it. */
    static String replace(Pattern pattern, String text, Rule rule) {
        Matcher matcher = pattern.matcher(text);
        StringBuilder found = new StringBuilder();
        int end = 0;
        while (matcher.find()) {
            found.append(text, end, matcher.start()).append(rule.replacement(text, matcher));
            end = matcher.end();
        }
        return end == 0 && found.length() == 0 ? text : found.append(text.substring(end)).toString();
    }

    /** Returns what stands in place of a match. */
    interface Rule {
        String replacement(String text, Matcher match);
    }
}
