package android.net;

public abstract class Uri implements android.os.Parcelable {
    public static native android.net.Uri parse(String text);
    public abstract String getHost();
    public abstract String getPath();
    public abstract String getScheme();
    public abstract String getLastPathSegment();
}
