package org.edgeproof.lib.match;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Alternative spellings (N'Djamena, Ndjamena; P-a-r-i-s): eval/matching/spellings.py. */
final class Spellings {
    private static final String[] LETTERS = {
        "\u0142l", "\u0141L", "\u00f8o", "\u00d8O", "\u0111d", "\u0110D", "\u00f0d", "\u00d0D", "\u0127h", "\u0126H",
        "\u0131i", "\u0167t", "\u0166T", "\u00feth", "\u00deTh", "\u00e6ae", "\u00c6Ae", "\u0153oe", "\u0152Oe",
        "\u0259e", "\u018fE",
    };
    private static final Pattern WITHIN =
            Pattern.compile(
                    "(?<=[" + Regex.LETTER + "])['\u2019\u2018\u02bc\u02bb`\u00b4\\-\u2010](?=[" + Regex.LETTER + "])"
                            + "(?!(?:s|ll|re|ve|d|m|t)" + Regex.WORD_ENDS + ")");
    private static final Pattern LETTER_BY_LETTER =
            Pattern.compile(
                    "(?<![" + Regex.ALPHANUMERIC + "])(?:[" + Regex.LETTER + "][ .,-]{1,2}){3,}[" + Regex.LETTER + "]"
                            + "(?![" + Regex.ALPHANUMERIC + "])");
    private static final Pattern NO_WORD = Pattern.compile("[^" + Regex.ALPHANUMERIC + "]");
    private static final Pattern HALF_SPACE = Pattern.compile("(?<=[\u0600-\u06ff])\u200c+(?=[\u0600-\u06ff])");

    private Spellings() {}

    /** {@code spelling_readings}. */
    static List<String> readings(String text) {
        String plain = translated(Characters.plain(text));
        String joined =
                Regex.replace(
                        LETTER_BY_LETTER,
                        plain,
                        new Regex.Rule() {
                            @Override
                            public String replacement(String all, Matcher match) {
                                return NO_WORD.matcher(match.group()).replaceAll("");
                            }
                        });
        String closed = WITHIN.matcher(joined).replaceAll("");
        return closed.equals(plain) ? Collections.singletonList(plain) : Arrays.asList(plain, closed);
    }

    /** {@code halves_of_words}: also with spaces for the half spaces of Arabic script. */
    static List<String> halves(String text) {
        String spaced = HALF_SPACE.matcher(text).replaceAll(" ");
        return spaced.equals(text) ? Collections.singletonList(text) : Arrays.asList(text, spaced);
    }

    private static String translated(String text) {
        if (Characters.ascii(text)) {
            return text;
        }
        String found = text;
        for (String letter : LETTERS) {
            found = found.replace(letter.substring(0, 1), letter.substring(1));
        }
        return found;
    }
}
