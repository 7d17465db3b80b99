package android.os;

public class BaseBundle {
    public native java.util.Set<String> keySet();
    public native Object get(String key);
    public native void putString(String key, String value);
    public native void putInt(String key, int value);
}
