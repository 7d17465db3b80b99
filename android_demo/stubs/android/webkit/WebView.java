package android.webkit;

public class WebView extends android.widget.AbsoluteLayout {
    public WebView(android.content.Context context) { }
    public native android.webkit.WebSettings getSettings();
    public native void setWebViewClient(android.webkit.WebViewClient client);
    public native void addJavascriptInterface(Object object, String name);
    public native void removeJavascriptInterface(String name);
    public native void loadUrl(String address);
    public native void destroy();
    public static native void setWebContentsDebuggingEnabled(boolean enabled);
}
