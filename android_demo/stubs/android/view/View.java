package android.view;

public class View {
    public native void setFitsSystemWindows(boolean fits);
}
