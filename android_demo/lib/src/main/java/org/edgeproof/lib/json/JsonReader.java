package org.edgeproof.lib.json;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Strict JSON reader (RFC 8259): one value and nothing after it, no duplicate keys, no NaN.
 *
 * <p>Android's org.json takes comments, single quotes and bare words, and a JVM outside Android has no org.json.
 *
 * <p>An object is a {@code Map<String, Object>}, an array a {@code List<Object>} ({@link Integers} where it holds whole
 * numbers alone), a number a {@code Long} or a {@code Double}, null {@link #NULL}.
 */
public final class JsonReader {
    /** The value null. */
    public static final Object NULL = new Object() {
        @Override
        public String toString() {
            return "null";
        }
    };

    private static final int DEEPEST = 64;

    private final String text;
    private int place;

    private JsonReader(String text) {
        this.text = text;
    }

    /** Reads the one value of {@code text}. */
    public static Object read(String text) throws JsonException {
        JsonReader reader = new JsonReader(text);
        Object value = reader.value(0);
        reader.space();
        if (reader.place != text.length()) {
            throw reader.wrong("text after the value");
        }
        return value;
    }

    private Object value(int depth) throws JsonException {
        if (depth > DEEPEST) {
            throw wrong("more than " + DEEPEST + " levels");
        }
        space();
        char next = peek();
        if (next == '{') {
            return object(depth);
        }
        if (next == '[') {
            return array(depth);
        }
        if (next == '"') {
            return string();
        }
        if (next == '-' || digit(next)) {
            return number();
        }
        if (word("true")) {
            return Boolean.TRUE;
        }
        if (word("false")) {
            return Boolean.FALSE;
        }
        if (word("null")) {
            return NULL;
        }
        throw wrong("no JSON value");
    }

    private Map<String, Object> object(int depth) throws JsonException {
        Map<String, Object> found = new LinkedHashMap<>();
        place++;
        space();
        if (taken('}')) {
            return found;
        }
        do {
            space();
            if (peek() != '"') {
                throw wrong("no key");
            }
            String key = string();
            space();
            expect(':');
            if (found.put(key, value(depth + 1)) != null) {
                throw wrong("a key occurs twice");
            }
            space();
        } while (taken(','));
        expect('}');
        return found;
    }

    private List<Object> array(int depth) throws JsonException {
        Integers whole = new Integers();
        List<Object> found = null;
        place++;
        space();
        if (taken(']')) {
            return whole;
        }
        do {
            Object value = value(depth + 1);
            if (found == null && !(value instanceof Long && whole.append((Long) value))) {
                found = new ArrayList<Object>(whole);
            }
            if (found != null) {
                found.add(value);
            }
            space();
        } while (taken(','));
        expect(']');
        return found == null ? whole : found;
    }

    private String string() throws JsonException {
        int start = ++place;
        StringBuilder built = null;
        while (true) {
            char next = peek();
            if (next == '"' || next == '\\') {
                if (built != null || next == '\\') {
                    built = (built == null ? new StringBuilder() : built).append(text, start, place);
                }
                place++;
                if (next == '"') {
                    return built == null ? text.substring(start, place - 1) : built.toString();
                }
                built.append(escaped());
                start = place;
            } else if (next < ' ') {
                throw wrong("a control character in a string");
            } else {
                place++;
            }
        }
    }

    private char escaped() throws JsonException {
        char next = peek();
        place++;
        switch (next) {
            case '"':
            case '\\':
            case '/':
                return next;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                int code = 0;
                for (int count = 0; count < 4; count++) {
                    int digit = Character.digit(peek(), 16);
                    if (digit < 0 || peek() > 'f') {
                        throw wrong("an escape that is none");
                    }
                    code = 16 * code + digit;
                    place++;
                }
                return (char) code;
            default:
                throw wrong("an escape that is none");
        }
    }

    private Object number() throws JsonException {
        int start = place;
        taken('-');
        if (!taken('0')) {
            digits();
        }
        boolean whole = true;
        if (taken('.')) {
            whole = false;
            digits();
        }
        if (taken('e') || taken('E')) {
            whole = false;
            if (!taken('+')) {
                taken('-');
            }
            digits();
        }
        String written = text.substring(start, place);
        if (whole && written.length() <= 18) {
            return Long.valueOf(written);
        }
        double value = Double.parseDouble(written);
        if (Double.isInfinite(value)) {
            throw wrong("a number that is too large");
        }
        return value;
    }

    private void digits() throws JsonException {
        if (!digit(peek())) {
            throw wrong("no number");
        }
        while (place < text.length() && digit(text.charAt(place))) {
            place++;
        }
    }

    private static boolean digit(char one) {
        return one >= '0' && one <= '9';
    }

    private boolean word(String word) {
        if (!text.startsWith(word, place)) {
            return false;
        }
        place += word.length();
        return true;
    }

    private boolean taken(char one) {
        if (place < text.length() && text.charAt(place) == one) {
            place++;
            return true;
        }
        return false;
    }

    private void expect(char one) throws JsonException {
        if (!taken(one)) {
            throw wrong("no '" + one + "'");
        }
    }

    private char peek() throws JsonException {
        if (place >= text.length()) {
            throw wrong("the text ends early");
        }
        return text.charAt(place);
    }

    private void space() {
        while (place < text.length() && " \t\n\r".indexOf(text.charAt(place)) >= 0) {
            place++;
        }
    }

    private JsonException wrong(String what) {
        return new JsonException("no JSON: " + what + ", at character " + place);
    }
}
