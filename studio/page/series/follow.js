// Series on show follow the queue and the gallery.
studio.listen(element, trigger);
const look = () => { if (element.offsetParent) trigger('input'); };
studio.follow({ queue: look, gallery: look });
