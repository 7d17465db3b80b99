package android.app;

public class Activity extends android.view.ContextThemeWrapper {
    public static int RESULT_OK;
    protected native void onCreate(android.os.Bundle saved);
    protected native void onResume();
    protected native void onDestroy();
    protected native void onNewIntent(android.content.Intent intent);
    protected native void onActivityResult(int request, int result, android.content.Intent data);
    public native android.content.Intent getIntent();
    public native void setContentView(android.view.View view);
    public native void startActivityForResult(android.content.Intent intent, int request);
    public final native void runOnUiThread(Runnable action);
    public final native void requestPermissions(String[] permissions, int request);
    public native void finish();
    public native boolean isFinishing();
    public native boolean isDestroyed();
}
