package org.edgeproof.lib.json;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A JSON object whose values are read with their types; every mismatch names the place, never the value. */
public final class JsonObject {
    private final Map<String, Object> values;
    private final String where;

    private JsonObject(Map<String, Object> values, String where) {
        this.values = values;
        this.where = where;
    }

    /** Reads {@code text}, which must be one object; {@code where} names it in messages. */
    public static JsonObject read(String text, String where) throws JsonException {
        return of(JsonReader.read(text), where);
    }

    @SuppressWarnings("unchecked")
    private static JsonObject of(Object value, String where) throws JsonException {
        if (!(value instanceof Map)) {
            throw new JsonException(where + " is no object");
        }
        return new JsonObject((Map<String, Object>) value, where);
    }

    /** The name of this object in messages. */
    public String where() {
        return where;
    }

    /** The keys and values. */
    public Map<String, Object> values() {
        return Collections.unmodifiableMap(values);
    }

    public boolean has(String key) {
        return values.containsKey(key) && values.get(key) != JsonReader.NULL;
    }

    /** Refuses keys other than {@code known}. */
    public void allow(List<String> known) throws JsonException {
        for (String key : values.keySet()) {
            if (!known.contains(key)) {
                throw new JsonException(where + " has a key that this version does not know: " + shortened(key));
            }
        }
    }

    public String text(String key) throws JsonException {
        return typed(key, String.class, "text");
    }

    public boolean flag(String key) throws JsonException {
        return typed(key, Boolean.class, "true or false");
    }

    /** A whole number of at least {@code least}. */
    public long whole(String key, long least) throws JsonException {
        long value = typed(key, Long.class, "whole number");
        if (value < least) {
            throw new JsonException(name(key) + " is less than " + least);
        }
        return value;
    }

    /** A number in {@code least} … {@code most}. */
    public double number(String key, double least, double most) throws JsonException {
        double value = typed(key, Number.class, "number").doubleValue();
        if (!(value >= least && value <= most)) {
            throw new JsonException(name(key) + " is not in " + least + " … " + most);
        }
        return value;
    }

    public JsonObject object(String key) throws JsonException {
        return of(typed(key, Map.class, "object"), name(key));
    }

    public List<JsonObject> objects(String key) throws JsonException {
        List<JsonObject> found = new ArrayList<>();
        for (Object one : list(key)) {
            found.add(of(one, name(key) + "[" + found.size() + "]"));
        }
        return found;
    }

    public List<String> texts(String key) throws JsonException {
        List<String> found = new ArrayList<>();
        for (Object one : list(key)) {
            if (!(one instanceof String)) {
                throw new JsonException(name(key) + "[" + found.size() + "] is no text");
            }
            found.add((String) one);
        }
        return found;
    }

    public int[] integers(String key) throws JsonException {
        List<?> found = list(key);
        if (!(found instanceof Integers)) {
            throw new JsonException(name(key) + " is no list of whole numbers");
        }
        return ((Integers) found).toArray32();
    }

    public double[] numbers(String key) throws JsonException {
        List<?> list = list(key);
        double[] found = new double[list.size()];
        for (int index = 0; index < found.length; index++) {
            Object one = list.get(index);
            if (!(one instanceof Number)) {
                throw new JsonException(name(key) + "[" + index + "] is no number");
            }
            found[index] = ((Number) one).doubleValue();
        }
        return found;
    }

    public boolean[] flags(String key) throws JsonException {
        List<?> list = list(key);
        boolean[] found = new boolean[list.size()];
        for (int index = 0; index < found.length; index++) {
            if (!(list.get(index) instanceof Boolean)) {
                throw new JsonException(name(key) + "[" + index + "] is neither true nor false");
            }
            found[index] = (Boolean) list.get(index);
        }
        return found;
    }

    public List<?> list(String key) throws JsonException {
        return typed(key, List.class, "list");
    }

    private <T> T typed(String key, Class<T> type, String what) throws JsonException {
        Object value = values.get(key);
        if (value == null) {
            throw new JsonException(name(key) + " is missing");
        }
        if (!type.isInstance(value)) {
            throw new JsonException(name(key) + " is no " + what);
        }
        return type.cast(value);
    }

    private String name(String key) {
        return where + "." + key;
    }

    private static String shortened(String key) {
        return key.length() > 40 ? key.substring(0, 40) + "…" : key;
    }
}
