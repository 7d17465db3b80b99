package android.widget;

public class AbsoluteLayout extends android.view.ViewGroup {
}
