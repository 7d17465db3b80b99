package android.content;

public abstract class ContentProvider {
    public abstract boolean onCreate();
    public abstract android.database.Cursor query(android.net.Uri uri, String[] columns, String selection, String[] values, String order);
    public abstract String getType(android.net.Uri uri);
    public abstract android.net.Uri insert(android.net.Uri uri, android.content.ContentValues values);
    public abstract int delete(android.net.Uri uri, String selection, String[] values);
    public abstract int update(android.net.Uri uri, android.content.ContentValues values, String selection, String[] arguments);
    public native android.os.ParcelFileDescriptor openFile(android.net.Uri uri, String mode) throws java.io.FileNotFoundException;
    public final native android.content.Context getContext();
}
