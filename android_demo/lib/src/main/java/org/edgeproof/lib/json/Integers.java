package org.edgeproof.lib.json;

import java.util.AbstractList;
import java.util.Arrays;
import java.util.RandomAccess;

/** A JSON array of whole numbers in 32 bits, without an object for each: a job holds millions of tokens. */
public final class Integers extends AbstractList<Object> implements RandomAccess {
    private int[] values = new int[8];
    private int size;

    boolean append(long value) {
        if (value != (int) value) {
            return false;
        }
        if (size == values.length) {
            values = Arrays.copyOf(values, 2 * size);
        }
        values[size++] = (int) value;
        return true;
    }

    /** Returns a copy of the numbers. */
    public int[] toArray32() {
        return Arrays.copyOf(values, size);
    }

    @Override
    public Object get(int index) {
        if (index >= size) {
            throw new IndexOutOfBoundsException(index + " of " + size);
        }
        return (long) values[index];
    }

    @Override
    public int size() {
        return size;
    }
}
