package android.view;

public abstract class ViewGroup extends android.view.View {
    public native void addView(android.view.View child);
}
