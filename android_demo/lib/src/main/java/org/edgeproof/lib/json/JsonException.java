package org.edgeproof.lib.json;

/** Text that is no JSON, or a JSON value of another type or range than was asked for. Its message holds no values. */
public final class JsonException extends Exception {
    private static final long serialVersionUID = 1L;

    public JsonException(String message) {
        super(message);
    }
}
