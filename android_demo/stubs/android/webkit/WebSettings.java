package android.webkit;

public abstract class WebSettings {
    public abstract void setJavaScriptEnabled(boolean enabled);
    public abstract void setAllowFileAccess(boolean allowed);
    public native void setAllowContentAccess(boolean allowed);
    public native void setBlockNetworkLoads(boolean blocked);
    public abstract void setSaveFormData(boolean save);
}
