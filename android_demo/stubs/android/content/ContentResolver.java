package android.content;

public abstract class ContentResolver {
    public final native java.io.InputStream openInputStream(android.net.Uri uri) throws java.io.FileNotFoundException;
    public final native java.io.OutputStream openOutputStream(android.net.Uri uri) throws java.io.FileNotFoundException;
}
