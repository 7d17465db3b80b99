package android.os;

public class ParcelFileDescriptor implements android.os.Parcelable {
    public static int MODE_READ_ONLY;
    public static native android.os.ParcelFileDescriptor open(java.io.File file, int mode) throws java.io.FileNotFoundException;
}
