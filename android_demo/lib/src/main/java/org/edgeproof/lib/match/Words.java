package org.edgeproof.lib.match;

import java.util.ArrayList;
import java.util.List;

/** Word splitting in any script: {@code words} and {@code contains_words} of eval/matching/words.py. */
final class Words {
    private Words() {}

    /** Splits plain text into words: runs of letters, digits and marks; single characters in unspaced scripts. */
    static List<String> of(String text, boolean foldCase) {
        String plain = Characters.plain(text);
        if (foldCase) {
            plain = Characters.folded(plain);
        }
        List<String> found = new ArrayList<>();
        StringBuilder run = new StringBuilder();
        for (int place = 0; place < plain.length(); ) {
            int one = plain.codePointAt(place);
            place += Character.charCount(one);
            if (Characters.inWords(one)) {
                run.appendCodePoint(one);
                continue;
            }
            if (run.length() > 0) {
                found.add(run.toString());
                run.setLength(0);
            }
            if (Characters.unspaced(one)) {
                found.add(new String(Character.toChars(one)));
            }
        }
        if (run.length() > 0) {
            found.add(run.toString());
        }
        return found;
    }

    /** The same words with their case folded. */
    static List<String> folded(List<String> words) {
        List<String> found = new ArrayList<>(words.size());
        for (String word : words) {
            found.add(Characters.folded(word));
        }
        return found;
    }

    /** Whether {@code sought} (not empty) occurs in {@code text} as consecutive whole words. */
    static boolean contain(List<String> text, List<String> sought) {
        for (int start = 0; start + sought.size() <= text.size(); start++) {
            if (text.subList(start, start + sought.size()).equals(sought)) {
                return true;
            }
        }
        return false;
    }

    static String joined(List<String> words, String between) {
        StringBuilder found = new StringBuilder();
        for (String word : words) {
            found.append(found.length() == 0 ? "" : between).append(word);
        }
        return found.toString();
    }
}
