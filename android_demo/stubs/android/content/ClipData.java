package android.content;

public class ClipData {
    public static native android.content.ClipData newRawUri(CharSequence label, android.net.Uri uri);
}
