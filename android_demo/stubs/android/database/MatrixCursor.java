package android.database;

public class MatrixCursor implements android.database.Cursor {
    public MatrixCursor(String[] columns) { }
    public native void addRow(Object[] values);
}
