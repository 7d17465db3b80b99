package org.edgeproof.lib.match;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Digits with and without separators: eval/matching/numerals.py. */
final class Numerals {
    private static final int LONG_CODE = 5;
    private static final int LONGEST = 200;
    private static final String GAP =
            "(?>[" + Regex.SPACE_BUT_BREAK + "]?[()/.\\-\u2013\u2014\u2010\u2212'\u2019_\u00b7:]{0,2}["
                    + Regex.SPACE_BUT_BREAK + "]?)";
    private static final Pattern LONG_WORD = Pattern.compile("[" + Regex.LETTER + "]{5}");
    private static final Pattern GROUPED =
            Pattern.compile(
                    "(?<![0-9])(?<![0-9][.,'\u2019_\u066c])"
                            + "(?:[0-9]{1,3}(?<separator>[.,'\u2019_\u066c])[0-9]{3}(?:\\k<separator>[0-9]{3})*"
                            + "(?![0-9]|\\k<separator>[0-9])"
                            + "|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9]|,[0-9]))");
    private static final Pattern SPACED =
            Pattern.compile(
                    "(?<![0-9])(?<![0-9][ .,'\u2019_\u066c-])[0-9]{1,3}(?: [0-9]{3})+(?![0-9]| [0-9])");
    private static final Pattern SPACE = Pattern.compile("[" + Regex.SPACE_BUT_BREAK + "]");
    private static final Pattern BETWEEN = Pattern.compile("[.,'\u2019_\u066c ]");
    private static final Pattern DIGIT_BY_LETTER =
            Pattern.compile(
                    "(?<=[0-9])(?=[" + Regex.LETTER + "])(?=[^\\x00-\\x7f])"
                            + "|(?<=[^\\x00-\\x7f])(?<=[" + Regex.LETTER + "])(?=[0-9])");

    private static final Regex.Rule CLOSE =
            new Regex.Rule() {
                @Override
                public String replacement(String text, Matcher match) {
                    return BETWEEN.matcher(match.group()).replaceAll("");
                }
            };
    private static final Regex.Rule CLOSE_UNLESS_PHONE =
            new Regex.Rule() {
                @Override
                public String replacement(String text, Matcher match) {
                    char before = match.start() == 0 ? ' ' : text.charAt(match.start() - 1);
                    return before == '+' || before == '(' ? match.group() : CLOSE.replacement(text, match);
                }
            };

    private Numerals() {}

    /** {@code numeral_readings}: plain text with thousands separators closed, where that may be meant. */
    static Set<String> readings(String text) {
        String plain = SPACE.matcher(Characters.plain(text)).replaceAll(" ");
        plain = DIGIT_BY_LETTER.matcher(plain).replaceAll(" ");
        Set<String> found = new LinkedHashSet<>();
        String closed = Regex.replace(GROUPED, plain, CLOSE);
        found.add(closed);
        found.add(Regex.replace(GROUPED, plain, CLOSE_UNLESS_PHONE));
        found.add(Regex.replace(SPACED, closed, CLOSE));
        return found;
    }

    /** {@code holds_code}: the digits and letters of a long identifier, in any grouping. */
    static boolean holdsCode(String text, String answer) {
        List<String> parts = Words.of(answer, true);
        String code = Words.joined(parts, "");
        int digits = 0;
        for (int place = 0; place < code.length(); place++) {
            digits += code.charAt(place) >= '0' && code.charAt(place) <= '9' ? 1 : 0;
        }
        if (code.codePointCount(0, code.length()) > LONGEST
                || digits < LONG_CODE
                || LONG_WORD.matcher(Words.joined(parts, " ")).find()) {
            return false;
        }
        StringBuilder pattern = new StringBuilder("(?<![0-9A-Za-z])");
        for (int place = 0; place < code.length(); ) {
            String one = new String(Character.toChars(code.codePointAt(place)));
            pattern.append(place == 0 ? "" : GAP).append(Pattern.quote(one));
            place += one.length();
        }
        pattern.append("(?![0-9A-Za-z])");
        int flags = Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE;
        return Pattern.compile(pattern.toString(), flags).matcher(Characters.plain(text)).find();
    }
}
