package org.edgeproof.lib;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.edgeproof.lib.engine.Computer;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.job.Splice;
import org.edgeproof.lib.match.Thinking;

/** From tokens to a reply's text, and from a reply to the context of the next turn. */
final class Texts {
    private Texts() {}

    /** The text of a generation. */
    static String reply(Request request, int[] tokens, Computer computer) throws RunException {
        if (tokens.length == 0) {
            return "";
        }
        return cut(new String(computer.spell(tokens, request.special), StandardCharsets.UTF_8), request.stop);
    }

    /** What stands before the first stop string behind leading white space. */
    static String cut(String text, List<String> stops) {
        int begin = 0;
        while (begin < text.length() && isSpace(text.charAt(begin))) {
            begin++;
        }
        int end = text.length();
        for (String stop : stops) {
            int place = stop.isEmpty() ? -1 : text.indexOf(stop, begin);
            end = place < 0 ? end : Math.min(end, place);
        }
        return text.substring(0, end);
    }

    /** The tokens of a context that is made from {@code reply}. */
    static int[] context(Job job, Splice splice, String reply, Computer computer) throws RunException {
        String said = stripped(Thinking.replyAfter(job.endOfReasoning, reply));
        said = said.isEmpty() ? splice.empty : said;
        StringBuilder text = new StringBuilder();
        List<String> parts = splice.parts;
        for (int index = 0; index < parts.size(); index++) {
            text.append(index == 0 ? "" : said).append(parts.get(index));
        }
        int[] tokens = computer.tokenize(text.toString());
        if (job.bos == Request.NONE) {
            return tokens;
        }
        int first = 0;
        while (first < tokens.length && tokens[first] == job.bos) {
            first++;
        }
        int[] found = new int[tokens.length - first + 1];
        found[0] = job.bos;
        System.arraycopy(tokens, first, found, 1, tokens.length - first);
        return found;
    }

    /** As Python's str.strip. */
    private static String stripped(String text) {
        int begin = 0;
        int end = text.length();
        while (begin < end && isSpace(text.charAt(begin))) {
            begin++;
        }
        while (end > begin && isSpace(text.charAt(end - 1))) {
            end--;
        }
        return text.substring(begin, end);
    }

    /** As Python's str.isspace. */
    private static boolean isSpace(char one) {
        return one >= '\t' && one <= '\r'
                || one >= '\u001c' && one <= ' '
                || one == '\u0085'
                || one == '\u00a0'
                || one == '\u1680'
                || one >= '\u2000' && one <= '\u200a'
                || one == '\u2028'
                || one == '\u2029'
                || one == '\u202f'
                || one == '\u205f'
                || one == '\u3000';
    }
}
