package android.app;

public class Instrumentation {
    public native void onCreate(android.os.Bundle arguments);
    public native void start();
    public native void onStart();
    public native void sendStatus(int code, android.os.Bundle results);
    public native void finish(int code, android.os.Bundle results);
    public native android.content.Context getTargetContext();
}
