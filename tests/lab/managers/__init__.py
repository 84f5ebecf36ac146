"""Every scenario for every VIP manager, with one clock: ``make scenarios``."""
