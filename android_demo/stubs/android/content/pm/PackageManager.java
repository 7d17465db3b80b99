package android.content.pm;

public abstract class PackageManager {
    public static int PERMISSION_GRANTED;
    public abstract android.content.pm.PackageInfo getPackageInfo(String name, int flags) throws android.content.pm.PackageManager.NameNotFoundException;
    public static class NameNotFoundException extends Exception { }
}
