package org.edgeproof.lib.match;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Separation of a model's reasoning from its reply: eval/matching/thinking.py. */
public final class Thinking {
    private static final String SPACES = "[\\n" + Regex.SPACE_BUT_BREAK + "]*";
    private static final Pattern GLUED =
            Pattern.compile(
                    "\\A" + SPACES + "(?:analysis|commentary|final)|assistant(?:analysis|commentary|final)",
                    Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE);

    private Thinking() {}

    /** Compiles the expression for the end of reasoning, which a job gives in Python's syntax. */
    public static Pattern endOfReasoning(String expression) {
        return Pattern.compile(
                expression.replace("\\s*", SPACES).replace("\\b", Regex.WORD_ENDS),
                Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE);
    }

    /** {@code reply_after_thoughts}: the text after the last end of reasoning; all of it if none ends. */
    public static String replyAfter(Pattern endOfReasoning, String text) {
        Matcher matcher = endOfReasoning.matcher(text);
        int end = 0;
        while (matcher.find()) {
            end = matcher.end();
        }
        return text.substring(end);
    }

    /** {@code readings_of_channels}: also without the remains of gpt-oss's channel markers. */
    static List<String> channels(String text) {
        String parted = GLUED.matcher(text).replaceAll(" ");
        return parted.equals(text) ? Collections.singletonList(text) : Arrays.asList(text, parted);
    }
}
