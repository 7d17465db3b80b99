package android.content;

public class Intent {
    public static String ACTION_OPEN_DOCUMENT;
    public static String ACTION_SEND;
    public static String CATEGORY_OPENABLE;
    public static String EXTRA_STREAM;
    public static int FLAG_GRANT_READ_URI_PERMISSION;
    public static int FLAG_ACTIVITY_SINGLE_TOP;
    public Intent(String action) { }
    public Intent(android.content.Context context, Class<?> kind) { }
    public native android.content.Intent addCategory(String category);
    public native android.content.Intent setType(String type);
    public native android.content.Intent addFlags(int flags);
    public native android.content.Intent putExtra(String name, android.os.Parcelable value);
    public native void setClipData(android.content.ClipData clip);
    public native android.os.Bundle getExtras();
    public native android.net.Uri getData();
    public native String getAction();
    public static native android.content.Intent createChooser(android.content.Intent target, CharSequence title);
}
