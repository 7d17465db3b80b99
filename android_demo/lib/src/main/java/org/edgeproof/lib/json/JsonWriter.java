package org.edgeproof.lib.json;

import java.util.List;
import java.util.Map;

/** Writes values of {@link JsonReader}'s types as JSON in ASCII, on one line: what is not ASCII is escaped. */
public final class JsonWriter {
    private JsonWriter() {}

    /** Returns {@code value} as JSON. {@code int[]} and {@code double[]} are arrays. */
    public static String write(Object value) {
        StringBuilder out = new StringBuilder();
        append(out, value);
        return out.toString();
    }

    private static void append(StringBuilder out, Object value) {
        if (value == null || value == JsonReader.NULL) {
            out.append("null");
        } else if (value instanceof String) {
            string(out, (String) value);
        } else if (value instanceof Map) {
            object(out, (Map<?, ?>) value);
        } else if (value instanceof List) {
            array(out, (List<?>) value);
        } else if (value instanceof int[]) {
            int[] numbers = (int[]) value;
            out.append('[');
            for (int index = 0; index < numbers.length; index++) {
                out.append(index == 0 ? "" : ",").append(numbers[index]);
            }
            out.append(']');
        } else if (value instanceof double[]) {
            double[] numbers = (double[]) value;
            out.append('[');
            for (int index = 0; index < numbers.length; index++) {
                out.append(index == 0 ? "" : ",");
                number(out, numbers[index]);
            }
            out.append(']');
        } else if (value instanceof Double) {
            number(out, (Double) value);
        } else if (value instanceof Boolean || value instanceof Long || value instanceof Integer) {
            out.append(value);
        } else {
            throw new IllegalArgumentException("no JSON value: " + value.getClass().getName());
        }
    }

    private static void number(StringBuilder out, double value) {
        if (Double.isNaN(value) || Double.isInfinite(value)) {
            throw new IllegalArgumentException("JSON has no number " + value);
        }
        out.append(value);
    }

    private static void object(StringBuilder out, Map<?, ?> value) {
        String comma = "";
        out.append('{');
        for (Map.Entry<?, ?> entry : value.entrySet()) {
            out.append(comma);
            string(out, (String) entry.getKey());
            out.append(':');
            append(out, entry.getValue());
            comma = ",";
        }
        out.append('}');
    }

    private static void array(StringBuilder out, List<?> value) {
        String comma = "";
        out.append('[');
        for (Object one : value) {
            out.append(comma);
            append(out, one);
            comma = ",";
        }
        out.append(']');
    }

    private static void string(StringBuilder out, String value) {
        out.append('"');
        for (int index = 0; index < value.length(); index++) {
            char one = value.charAt(index);
            if (one == '"' || one == '\\') {
                out.append('\\').append(one);
            } else if (one == '\n') {
                out.append("\\n");
            } else if (one < ' ' || one > '~') {
                out.append(String.format("\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        out.append('"');
    }
}
