package android.provider;

public interface OpenableColumns {
    String DISPLAY_NAME = String.valueOf("_display_name");
    String SIZE = String.valueOf("_size");
}
