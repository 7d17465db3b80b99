package android.content;

public class Context {
    public static String ACTIVITY_SERVICE;
    public static String NOTIFICATION_SERVICE;
    public static String POWER_SERVICE;
    public native android.content.Context getApplicationContext();
    public native android.content.pm.ApplicationInfo getApplicationInfo();
    public native android.content.pm.PackageManager getPackageManager();
    public native String getPackageName();
    public native android.content.res.AssetManager getAssets();
    public native android.content.ContentResolver getContentResolver();
    public native java.io.File getFilesDir();
    public native java.io.File getExternalFilesDir(String type);
    public native Object getSystemService(String name);
    public native void startActivity(android.content.Intent intent);
    public native android.content.ComponentName startForegroundService(android.content.Intent intent);
    public native boolean stopService(android.content.Intent intent);
    public native int checkSelfPermission(String permission);
    public final native String getString(int id);
}
