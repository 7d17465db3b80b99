package org.edgeproof.lib.match;

import java.text.Normalizer;

/**
 * Normalization of text before words are compared: eval/matching/words.py, character for character.
 *
 * <p>Java knows no combining classes; {@link #DROPPED} lists the marks that are dropped because of theirs (Unicode 14).
 * A character that this Java does not know yet makes a text {@link #unknown}: it is left to the laptop. Not so where
 * Unicode has symbols alone (each year's new emoji), which are in no word.
 */
final class Characters {
    /** First and last of each range of accents (combining class 200 and up) and points (10 … 36). */
    private static final int[] DROPPED = {
        0x300, 0x333, 0x339, 0x34e, 0x350, 0x36f, 0x483, 0x487, 0x591, 0x5bd, 0x5bf, 0x5bf, 0x5c1, 0x5c2, 0x5c4, 0x5c5,
        0x5c7, 0x5c7, 0x610, 0x61a, 0x64b, 0x65f, 0x670, 0x670, 0x6d6, 0x6dc, 0x6df, 0x6e4, 0x6e7, 0x6e8, 0x6ea, 0x6ed,
        0x711, 0x711, 0x730, 0x74a, 0x7eb, 0x7f3, 0x7fd, 0x7fd, 0x816, 0x819, 0x81b, 0x823, 0x825, 0x827, 0x829, 0x82d,
        0x859, 0x85b, 0x898, 0x89f, 0x8ca, 0x8e1, 0x8e3, 0x8ff, 0x951, 0x954, 0x9fe, 0x9fe, 0xf18, 0xf19, 0xf35, 0xf35,
        0xf37, 0xf37, 0xf39, 0xf39, 0xf82, 0xf83, 0xf86, 0xf87, 0xfc6, 0xfc6, 0x108d, 0x108d, 0x135d, 0x135f,
        0x17dd, 0x17dd, 0x18a9, 0x18a9, 0x1939, 0x193b, 0x1a17, 0x1a18, 0x1a75, 0x1a7c, 0x1a7f, 0x1a7f,
        0x1ab0, 0x1abd, 0x1abf, 0x1ace, 0x1b6b, 0x1b73, 0x1cd0, 0x1cd2, 0x1cd5, 0x1ce0, 0x1ced, 0x1ced,
        0x1cf4, 0x1cf4, 0x1cf8, 0x1cf9, 0x1dc0, 0x1dff, 0x20d0, 0x20d1, 0x20d4, 0x20d7, 0x20db, 0x20dc,
        0x20e1, 0x20e1, 0x20e7, 0x20e9, 0x20ec, 0x20f0, 0x2cef, 0x2cf1, 0x2de0, 0x2dff, 0x302a, 0x302f,
        0xa66f, 0xa66f, 0xa674, 0xa67d, 0xa69e, 0xa69f, 0xa6f0, 0xa6f1, 0xa8e0, 0xa8f1, 0xa92b, 0xa92d,
        0xaab0, 0xaab0, 0xaab2, 0xaab4, 0xaab7, 0xaab8, 0xaabe, 0xaabf, 0xaac1, 0xaac1, 0xfb1e, 0xfb1e,
        0xfe20, 0xfe2f, 0x101fd, 0x101fd, 0x102e0, 0x102e0, 0x10376, 0x1037a, 0x10a0d, 0x10a0d, 0x10a0f, 0x10a0f,
        0x10a38, 0x10a38, 0x10a3a, 0x10a3a, 0x10ae5, 0x10ae6, 0x10d24, 0x10d27, 0x10eab, 0x10eac, 0x10f46, 0x10f50,
        0x10f82, 0x10f85, 0x11100, 0x11102, 0x11366, 0x1136c, 0x11370, 0x11374, 0x1145e, 0x1145e, 0x16b30, 0x16b36,
        0x1d165, 0x1d166, 0x1d16d, 0x1d172, 0x1d17b, 0x1d182, 0x1d185, 0x1d18b, 0x1d1aa, 0x1d1ad, 0x1d242, 0x1d244,
        0x1e000, 0x1e006, 0x1e008, 0x1e018, 0x1e01b, 0x1e021, 0x1e023, 0x1e024, 0x1e026, 0x1e02a, 0x1e130, 0x1e136,
        0x1e2ae, 0x1e2ae, 0x1e2ec, 0x1e2ef, 0x1e8d0, 0x1e8d6, 0x1e944, 0x1e949,
    };

    /** Besides format characters: joiners and variation selectors in mark categories, and the Arabic tatweel. */
    private static final int[] INVISIBLE = {
        0x34f, 0x34f, 0x640, 0x640, 0x180b, 0x180d, 0x180f, 0x180f, 0xfe00, 0xfe0f, 0xe0100, 0xe01ef,
    };

    /** Scripts without spaces between words. */
    private static final int[] UNSPACED = {
        0x0e00, 0x0eff, 0x1000, 0x109f, 0x1780, 0x17ff, 0x3040, 0x30ff, 0x3400, 0x9fff, 0xac00, 0xd7a3, 0xf900, 0xfaff,
        0x20000, 0x3ffff,
    };

    /** U+1C80 … U+1C88, forms of Cyrillic letters in old prints, and the letters that they fold to. */
    private static final String OLD_CYRILLIC = "\u0432\u0434\u043e\u0441\u0442\u0442\u044a\u0463\ua64b";

    private Characters() {}

    /** Blocks of symbols. */
    private static final int[] SYMBOLS = {0x2000, 0x2bff, 0x1f000, 0x1fbff};

    /** Whether {@code text} holds a character that this Java does not know, or half a one. */
    static boolean unknown(String text) {
        for (int place = 0; place < text.length(); ) {
            int one = text.codePointAt(place);
            int type = Character.getType(one);
            if (type == Character.SURROGATE || type == Character.UNASSIGNED && !within(one, SYMBOLS)) {
                return true;
            }
            place += Character.charCount(one);
        }
        return false;
    }

    static boolean ascii(String text) {
        for (int place = 0; place < text.length(); place++) {
            if (text.charAt(place) > 127) {
                return false;
            }
        }
        return true;
    }

    /** {@code plain_text}: compatibility forms and digits normalized; no accents and invisible characters. */
    static String plain(String text) {
        if (ascii(text)) {
            return text;
        }
        String decomposed = Normalizer.normalize(visible(text), Normalizer.Form.NFKD);
        StringBuilder kept = new StringBuilder(decomposed.length());
        for (int place = 0; place < decomposed.length(); ) {
            int one = decomposed.codePointAt(place);
            place += Character.charCount(one);
            int type = Character.getType(one);
            if (within(one, DROPPED) || type == Character.ENCLOSING_MARK || invisible(one)) {
                continue;
            }
            if (type == Character.DECIMAL_DIGIT_NUMBER) {
                kept.append(Character.digit(one, 10));
            } else {
                kept.appendCodePoint(one);
            }
        }
        return Normalizer.normalize(kept, Normalizer.Form.NFC);
    }

    /** Case folding, as far as it matters for comparing plain text. */
    static String folded(String text) {
        StringBuilder found = new StringBuilder(text.length());
        for (int place = 0; place < text.length(); ) {
            int one = text.codePointAt(place);
            place += Character.charCount(one);
            if (one == 0xdf || one == 0x1e9e) {
                found.append("ss");
            } else if (one == 0x3c2) {
                found.append('\u03c3');
            } else if (one >= 0x1c80 && one <= 0x1c88) {
                found.append(OLD_CYRILLIC.charAt(one - 0x1c80));
            } else {
                found.appendCodePoint(Character.toLowerCase(one));
            }
        }
        return found.toString();
    }

    static boolean inWords(int one) {
        return !unspaced(one) && (alphanumeric(one) || mark(one));
    }

    static boolean unspaced(int one) {
        return one >= UNSPACED[0] && within(one, UNSPACED) && alphanumeric(one);
    }

    static boolean alphanumeric(int one) {
        switch (Character.getType(one)) {
            case Character.UPPERCASE_LETTER:
            case Character.LOWERCASE_LETTER:
            case Character.TITLECASE_LETTER:
            case Character.MODIFIER_LETTER:
            case Character.OTHER_LETTER:
            case Character.DECIMAL_DIGIT_NUMBER:
            case Character.LETTER_NUMBER:
            case Character.OTHER_NUMBER:
                return true;
            default:
                return false;
        }
    }

    private static boolean mark(int one) {
        int type = Character.getType(one);
        return type == Character.NON_SPACING_MARK
                || type == Character.COMBINING_SPACING_MARK
                || type == Character.ENCLOSING_MARK;
    }

    private static String visible(String text) {
        StringBuilder kept = new StringBuilder(text.length());
        for (int place = 0; place < text.length(); ) {
            int one = text.codePointAt(place);
            place += Character.charCount(one);
            if (!invisible(one)) {
                kept.appendCodePoint(one);
            }
        }
        return kept.toString();
    }

    private static boolean invisible(int one) {
        return Character.getType(one) == Character.FORMAT || within(one, INVISIBLE);
    }

    private static boolean within(int one, int[] ranges) {
        int low = 0;
        int high = ranges.length / 2 - 1;
        while (low <= high) {
            int middle = (low + high) / 2;
            if (one < ranges[2 * middle]) {
                high = middle - 1;
            } else if (one > ranges[2 * middle + 1]) {
                low = middle + 1;
            } else {
                return true;
            }
        }
        return false;
    }
}
