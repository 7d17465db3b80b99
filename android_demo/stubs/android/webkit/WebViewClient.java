package android.webkit;

public class WebViewClient {
    public native android.webkit.WebResourceResponse shouldInterceptRequest(android.webkit.WebView view, android.webkit.WebResourceRequest request);
    public native boolean shouldOverrideUrlLoading(android.webkit.WebView view, android.webkit.WebResourceRequest request);
}
